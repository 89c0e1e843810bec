"""Limits per user over HTTP: 429 with the headers of the IETF draft, whatever else a request says of its sender."""

import threading
import uuid
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from config import env
from config.tests import building
from config.tests.client import Client
from config.tests.direct import Direct
from shop import auth, throttle
from shop.testing_shop import RunningShop

PASSWORD = "plum-tractor-59"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> throttle.DealtLimit:
    """A limit of five for everything that has one."""
    name = uuid.uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))  # Redis outlives the transaction
    limit = throttle.deal(throttle.Limit(name, 5, 60.0), processes=1)
    for name in ("ORDERS", "CLAIMS"):
        monkeypatch.setattr(throttle, name, limit)
    return limit


def forged() -> dict[str, str]:
    address = ".".join(str(part) for part in uuid.uuid4().bytes[:4])
    return {"X-Forwarded-For": address, "X-Real-Ip": address, "Forwarded": f"for={address}", "User-Agent": address}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/orders", "/coupons/issue"])
def test_a_user_over_the_limit_is_told_so_and_others_go_on(path: str, few: throttle.DealtLimit) -> None:
    client = Direct()
    product_id, user_id = building.make_product(stock=9), building.make_user()
    body = {"items": [{"product_id": product_id, "quantity": 1}]} if path == "/orders" else {"coupon_id": 2**40}
    mine = auth.access_token_for(user_id=user_id)
    outcomes = [client.request("POST", path, body=body, token=mine, headers=forged()).outcome for _ in range(7)]
    assert outcomes[5:] == [(429, "too_many_requests")] * 2
    assert (429, "too_many_requests") not in outcomes[:5]
    refused = client.post(path, body, token=auth.access_token_for(user_id=user_id))  # another token, the same user
    assert refused.status == 429
    wait = refused.json["retry_after"]
    assert 50 <= wait <= 60
    assert refused.headers["Retry-After"] == str(wait)
    assert refused.headers["RateLimit-Policy"] == few.whole.policy
    assert refused.headers["RateLimit"] == f'"{few.whole.name}";r=0;t={wait}'
    other = auth.access_token_for(user_id=building.make_user())
    assert client.post(path, body, token=other).status != 429


@pytest.mark.django_db
def test_a_refused_order_changes_nothing_and_its_key_is_free(few: throttle.DealtLimit) -> None:
    client, user_id = Direct(), building.make_user()
    token = auth.access_token_for(user_id=user_id)
    for _ in range(5):
        client.post("/orders", {}, token=token)
    before = building.everything()
    items = [{"product_id": 1, "quantity": 1}]
    assert client.post("/orders", {"items": items}, token=token, key="once").status == 429
    assert building.everything() == before


def test_the_usual_limits_are_far_above_a_customer() -> None:
    for limit in (throttle.ORDERS, throttle.CLAIMS):
        assert limit is not None
        assert (limit.whole.burst, limit.whole.seconds_per_token) == (600, 0.1)
    failures = [throttle.Limit("logins", 10, 6.0), throttle.Limit("admin-logins", 6, 150.0)]
    assert failures == [throttle.LOGINS, throttle.ADMIN_LOGINS]


@pytest.mark.parametrize("text", ["", "10", "0/60", "10/0", "-1/60", "10/60s", "ten/60", "１/60", "on"])
def test_a_limit_that_cannot_be_read_refuses_to_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LIMIT_ORDERS", text)
    with pytest.raises(env.BadEnvironment, match="SHOP_LIMIT_ORDERS"):
        env.quota("SHOP_LIMIT_ORDERS")


def test_a_limit_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LIMIT_ORDERS", "off")
    assert env.quota("SHOP_LIMIT_ORDERS") is None
    monkeypatch.setenv("SHOP_LIMIT_ORDERS", "7/30")
    assert env.quota("SHOP_LIMIT_ORDERS") == env.Quota(7, 30)


def guess(shop: RunningShop, body: bytes, statuses: list[int], barrier: threading.Barrier) -> None:
    address = urlsplit(shop.base_url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.connect()
    barrier.wait(30)
    connection.request("POST", "/auth/token", body, {"Content-Type": "application/json"} | forged())
    statuses.append(connection.getresponse().status)
    connection.close()


@pytest.mark.xdist_group("shop")
def test_of_200_guesses_at_once_exactly_ten_are_looked_at(running_shop: RunningShop, client: Client) -> None:
    name = f"kim{uuid.uuid4().hex[:12]}"
    assert client.post("/auth/signup", {"username": name, "password": PASSWORD}).status == 201
    barrier = threading.Barrier(200)
    statuses: list[int] = []
    body = f'{{"username": "{name}", "password": "wrong-horse-12"}}'.encode()
    threads = [threading.Thread(target=guess, args=(running_shop, body, statuses, barrier)) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {status: statuses.count(status) for status in set(statuses)} == {401: 10, 429: 190}
