"""API.md "Accounts" over HTTP, and who may come in: FAULTS.md B49-B82."""

import base64
import json
import time
import unicodedata
import uuid
from collections.abc import Callable

import jwt
import pytest

from config.tests.client import Client
from config.tests.conftest import World
from shop.testing import race

PASSWORD = "plum-tractor-59"


def new_name() -> str:
    return f"kim{uuid.uuid4().hex[:12]}"


def sign_up(client: Client, name: str, password: str = PASSWORD) -> int:
    answer = client.post("/auth/signup", {"username": name, "password": password})
    assert answer.status == 201
    return int(answer.json["user_id"])


# --- signing up -----------------------------------------------------------------------------------------------------


def test_signup_opens_a_wallet_with_nothing_in_it(client: Client) -> None:
    name = new_name()
    created = client.post("/auth/signup", {"username": name, "password": PASSWORD})
    assert created.status == 201
    assert created.json == {"user_id": created.json["user_id"], "username": name}
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json
    assert tokens["user_id"] == created.json["user_id"]
    wallet = client.get(f"/balance/{tokens['user_id']}", token=tokens["access"])
    assert (wallet.json["balance"], wallet.json["currency"]) == (0, "KRW")
    assert created.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("username", "password", "pointers"),
    [
        ("", PASSWORD, ["/username"]),
        ("   ", PASSWORD, ["/username"]),
        ("k" * 151, PASSWORD, ["/username"]),
        ("kim\u0007lee", PASSWORD, ["/username"]),
        ("kim\u202elee", PASSWORD, ["/username"]),
        ("kim lee", PASSWORD, ["/username"]),
        (7, PASSWORD, ["/username"]),
        (None, PASSWORD, ["/username"]),
        ("kimfreshname", "short7!", ["/password"]),
        ("kimfreshname", "password123", ["/password"]),
        ("kimfreshname", "73915284660", ["/password"]),
        ("kimfreshname", "kimfreshname1", ["/password"]),
        ("kimfreshname", "x" * 5_000, ["/password"]),
        ("", "short", ["/username"]),
        (None, 5, ["/username", "/password"]),
    ],
)
def test_bad_name_or_weak_password_is_refused(
    client: Client, unchanged: Callable[[], None], username: object, password: object, pointers: list[str]
) -> None:
    refused = client.post("/auth/signup", {"username": username, "password": password})
    assert refused.outcome == (400, "invalid_input")
    assert list(dict.fromkeys(refused.pointers)) == pointers


def test_endless_password_is_refused_before_it_is_hashed(client: Client) -> None:
    client.post("/auth/token", {"username": "nobody", "password": PASSWORD})  # the connection is warm now
    began = time.monotonic()
    client.post("/auth/signup", {"username": new_name(), "password": "x" * 60_000})
    client.post("/auth/token", {"username": "nobody", "password": "x" * 60_000})
    assert time.monotonic() - began < 1.0


def test_taken_name_is_refused_in_any_spelling(client: Client, world: World) -> None:
    name = new_name()
    sign_up(client, name)
    before = world.counts()
    wide = unicodedata.normalize("NFKC", name).translate({ord("k"): "ｋ", ord("i"): "ｉ"})
    for spelling in (name, name.upper(), f" {name} ", wide):
        refused = client.post("/auth/signup", {"username": spelling, "password": PASSWORD})
        assert refused.outcome == (409, "username_taken")
    assert world.counts() == before


def test_one_of_two_with_the_same_name_wins(client: Client) -> None:
    name = new_name()
    body = {"username": name, "password": PASSWORD}
    outcomes = [answer.outcome for answer in race(*[lambda: client.post("/auth/signup", body)] * 2)]
    assert sorted(outcomes) == [(201, ""), (409, "username_taken")]


def test_nobody_makes_themselves_staff(client: Client, unchanged: Callable[[], None]) -> None:
    for extra in ("is_staff", "is_superuser", "id", "balance", "token_generation"):
        refused = client.post("/auth/signup", {"username": new_name(), "password": PASSWORD, extra: True})
        assert refused.outcome == (400, "unknown_field")
        assert refused.pointers == [f"/{extra}"]


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_token_says_the_same_whatever_is_wrong(client: Client, world: World) -> None:
    name, gone = new_name(), new_name()
    sign_up(client, name)
    world.rows("UPDATE shop_user SET is_active = false WHERE id = %s", sign_up(client, gone))
    said = []
    for username, password in ((name, "wrong-horse-12"), (new_name(), PASSWORD), (gone, PASSWORD)):
        refused = client.post("/auth/token", {"username": username, "password": password})
        assert refused.outcome == (401, "invalid_credentials")
        said.append({key: value for key, value in refused.json.items() if key != "request_id"})
    assert said[0] == said[1] == said[2]


def test_guessing_is_slowed_down_and_others_are_not(client: Client) -> None:
    name, other = new_name(), new_name()
    for username in (name, other):
        sign_up(client, username)
    guesses = [client.post("/auth/token", {"username": name, "password": f"wrong-horse-{n}"}) for n in range(20)]
    outcomes = [answer.outcome for answer in guesses]
    allowed = outcomes.index((429, "too_many_requests"))
    assert outcomes[:allowed] == [(401, "invalid_credentials")] * allowed
    assert allowed in (10, 11)  # a token comes back every 6 s
    assert int(guesses[-1].headers["Retry-After"]) == guesses[-1].json["retry_after"] >= 1
    spelled_otherwise = client.post("/auth/token", {"username": name.upper(), "password": PASSWORD})
    assert spelled_otherwise.status == 429
    assert client.post("/auth/token", {"username": other, "password": PASSWORD}).status == 200


def test_unknown_name_takes_as_long_as_a_wrong_password(client: Client) -> None:
    name = new_name()
    sign_up(client, name)

    def fastest(username: str) -> float:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            client.post("/auth/token", {"username": username, "password": "wrong-horse-12"})
            times.append(time.perf_counter() - began)
        return min(times)

    known, unknown = fastest(name), fastest(new_name())
    assert 1 / 3 < known / unknown < 3


def test_refresh_gives_a_new_pair_and_spends_the_old_one(client: Client) -> None:
    name = new_name()
    user_id = sign_up(client, name)
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json
    pair = client.post("/auth/token/refresh", {"refresh": tokens["refresh"]})
    assert pair.status == 200
    assert client.get(f"/balance/{user_id}", token=pair.json["access"]).status == 200
    again = client.post("/auth/token/refresh", {"refresh": tokens["refresh"]})
    assert again.outcome == (401, "invalid_token")
    assert client.post("/auth/token/refresh", {"refresh": pair.json["refresh"]}).status == 200


def test_one_refresh_token_spent_twice_at_once_gives_one_pair(client: Client) -> None:
    name = new_name()
    sign_up(client, name)
    body = {"refresh": client.post("/auth/token", {"username": name, "password": PASSWORD}).json["refresh"]}
    outcomes = [answer.outcome for answer in race(*[lambda: client.post("/auth/token/refresh", body)] * 4)]
    assert sorted(outcomes) == [(200, "")] + [(401, "invalid_token")] * 3


def test_what_is_no_refresh_token_refreshes_nothing(client: Client, world: World) -> None:
    name = new_name()
    user_id = sign_up(client, name)
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json
    for text in (tokens["access"], "nonsense", tokens["refresh"][:-2], tokens["refresh"] + "x"):
        assert client.post("/auth/token/refresh", {"refresh": text}).outcome == (401, "invalid_token")
    world.rows("UPDATE shop_user SET token_generation = token_generation + 1 WHERE id = %s", user_id)
    assert client.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).outcome == (401, "invalid_token")


def test_refresh_of_a_disabled_user_dies_at_once(client: Client, world: World) -> None:
    name = new_name()
    user_id = sign_up(client, name)
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json
    world.rows("UPDATE shop_user SET is_active = false WHERE id = %s", user_id)
    assert client.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).outcome == (401, "invalid_token")


# --- who comes in ---------------------------------------------------------------------------------------------------


def unsigned(claims: dict[str, object], header: dict[str, object]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


BAD_AUTHORIZATION = {
    "basic": lambda good: "Basic a2ltOmtpbQ==",
    "bearer alone": lambda good: "Bearer",
    "bearer and a space": lambda good: "Bearer ",
    "no scheme": lambda good: good,
    "two tokens": lambda good: f"Bearer {good} {good}",
    "two schemes": lambda good: f"Bearer {good}, Basic a2ltOmtpbQ==",
    "garbage": lambda good: "Bearer x.y.z",
    "not ascii": lambda good: "Bearer \u00e9\u00e9\u00e9",
    "8 KB": lambda good: f"Bearer {'x' * 8_000}",
    "tampered": lambda good: f"Bearer {good[:-6]}AAAAAA",
    "other claims": lambda good: "Bearer {}.{}.{}".format(
        good.split(".")[0],
        base64.urlsafe_b64encode(b'{"user_id":1,"token_type":"access","exp":9999999999}').rstrip(b"=").decode(),
        good.split(".")[2],
    ),
    "algorithm none": lambda good: "Bearer " + unsigned({"user_id": 1, "token_type": "access"}, {"alg": "none"}),
    "algorithm RS256": lambda good: "Bearer " + unsigned({"user_id": 1, "token_type": "access"}, {"alg": "RS256"}),
}


@pytest.mark.parametrize("case", BAD_AUTHORIZATION)
def test_bad_authorization_is_refused_and_told_how(client: Client, world: World, case: str) -> None:
    customer = world.customer()
    header = BAD_AUTHORIZATION[case](customer.token)
    for method, path in (("GET", f"/balance/{customer.user_id}"), ("POST", "/orders"), ("GET", "/coupons/mine")):
        refused = client.request(method, path, headers={"Authorization": header}, body=None)
        assert refused.outcome == (401, "invalid_token")
        assert refused.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_000_000_000},
        {"token_type": "refresh"},
        {"token_type": None},
        {"exp": None},
        {"user_id": None},
        {"user_id": "abc"},
        {"user_id": [1]},
        {"user_id": {}},
        {"user_id": -1},
        {"user_id": 2**63},
        {"user_id": 10**30},
        {"nbf": 9_999_999_999},
    ],
)
def test_token_with_bad_claims_is_refused(client: Client, world: World, claims: dict[str, object]) -> None:
    token = world.token(1, **claims)
    for path in ("/orders", "/coupons/mine"):
        assert client.get(path, token=token).outcome == (401, "invalid_token")


def test_token_of_another_key_or_algorithm_is_refused(client: Client, world: World) -> None:
    claims = {"token_type": "access", "exp": int(time.time()) + 600, "jti": "1", "user_id": 1, "is_staff": True}
    for key, algorithm in (("k" * 64, "HS256"), (world.jwt_key, "HS512"), (world.jwt_key, "HS384")):
        token = jwt.encode(claims, key, algorithm=algorithm)
        assert client.get("/orders", token=token).outcome == (401, "invalid_token")


def test_no_token_is_told_apart_from_a_bad_one(client: Client) -> None:
    for method, path in (
        ("GET", "/balance/1"),
        ("GET", "/balance/1/transfers"),
        ("POST", "/balance/charge"),
        ("POST", "/coupons/issue"),
        ("GET", "/coupons/mine"),
        ("GET", "/coupons/issuances/1"),
        ("POST", "/orders"),
        ("GET", "/orders"),
        ("GET", "/orders/1"),
        ("POST", "/orders/1/cancel"),
    ):
        refused = client.request(method, path)
        assert refused.outcome == (401, "not_authenticated"), path
        assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_token_that_outlived_its_user_is_refused(client: Client, world: World) -> None:
    """Nobody is deleted in this shop, but a token of a user who is not there must neither act nor break anything."""
    gone, product_id = 2**40, world.product()
    before = world.counts()
    token = world.token(gone)
    items = [{"product_id": product_id, "quantity": 1}]
    for answer in (
        client.get(f"/balance/{gone}", token=token),
        client.post("/balance/charge", {"amount": 1}, token=token),
        client.post("/orders", {"items": items}, token=token),
        client.post("/orders", {"items": items}, token=token, key="gone"),
    ):
        assert answer.outcome == (401, "invalid_token")
    assert world.counts() == before


def test_bad_token_does_not_matter_where_none_is_needed(client: Client, world: World) -> None:
    product_id, campaign_id = world.product(), world.campaign()
    shown = (f"/products/{product_id}", f"/coupons/{campaign_id}")
    for path in ("/products", "/coupons", "/products/top-selling", *shown):
        assert client.get(path, token="x.y.z").status == 200


@pytest.mark.parametrize("path", ["/auth/signup", "/auth/token", "/auth/token/refresh"])
@pytest.mark.parametrize("body", [{}, None, [], "x", {"username": 1, "password": 1, "refresh": 1}, {"refresh": None}])
def test_bad_bodies_are_refused(client: Client, unchanged: Callable[[], None], path: str, body: object) -> None:
    assert client.post(path, json.dumps(body).encode()).status == 400
