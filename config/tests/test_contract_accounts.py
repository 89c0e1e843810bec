"""API.md "Accounts" over HTTP, and who may come in; bad input is in test_bad_input.py."""

import json
import time
import uuid
from collections.abc import Callable

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


def test_endless_password_is_refused_before_it_is_hashed(client: Client) -> None:
    client.post("/auth/token", {"username": "nobody", "password": PASSWORD})  # the connection is warm now
    began = time.monotonic()
    client.post("/auth/signup", {"username": new_name(), "password": "x" * 60_000})
    client.post("/auth/token", {"username": "nobody", "password": "x" * 60_000})
    assert time.monotonic() - began < 1.0


# --- tokens ---------------------------------------------------------------------------------------------------------


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


def test_refresh_of_a_disabled_user_dies_at_once(client: Client, world: World) -> None:
    name = new_name()
    user_id = sign_up(client, name)
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json
    world.rows("UPDATE shop_user SET is_active = false WHERE id = %s", user_id)
    assert client.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).outcome == (401, "invalid_token")


# --- who comes in ---------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("path", ["/auth/signup", "/auth/token", "/auth/token/refresh"])
@pytest.mark.parametrize("body", [{}, None, [], "x", {"username": 1, "password": 1, "refresh": 1}, {"refresh": None}])
def test_bad_bodies_are_refused(client: Client, unchanged: Callable[[], None], path: str, body: object) -> None:
    assert client.post(path, json.dumps(body).encode()).status == 400
