"""Forged, stale and revoked tokens: what a token must be, and how soon it ends with its user's sessions."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jwt
import pytest
import rest_framework_simplejwt.backends
from django.conf import settings
from django.contrib.auth.hashers import make_password

from config.tests.client import Client, Contract
from config.tests.conftest import World
from config.tests.direct import Direct
from shop import accounts, auth, revocations
from shop.models import User
from shop.testing import wait_until
from shop.testing_shop import RunningShop

PASSWORD, NEW_PASSWORD = "plum-tractor-59", "amber-canoe-73"
CLAIMS = {"token_type": "access", "jti": "1", "user_id": 1, "is_staff": True}


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def signed(header: dict[str, Any], claims: dict[str, Any], key: str) -> str:
    """Return a token whose signature is right, whatever its header says."""
    text = f"{encoded(header)}.{encoded(claims)}"
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def claims(**changed: Any) -> dict[str, Any]:
    return CLAIMS | {"exp": int(time.time()) + 600} | changed


STRANGERS_KEY = "k" * 64
UNSIGNED = ("none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES256")
SWAPPED = ("none", "RS256", "PS256", "ES256", "EdDSA", "HS512", "hs256")  # with the signature that HS256 would have


def unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(claims())}."


FORGED: dict[str, Callable[[], str]] = {
    **{f"unsigned {name}": partial(unsigned, name) for name in UNSIGNED},
    **{f"swapped {name}": lambda name=name: signed({"alg": name}, claims(), settings.JWT_KEY) for name in SWAPPED},  # type: ignore[misc]  # a default is not inferred
    "no algorithm": lambda: signed({"typ": "JWT"}, claims(), settings.JWT_KEY),
    "a stranger's key": lambda: jwt.encode(claims(), STRANGERS_KEY, algorithm="HS256"),
    "an empty key": lambda: signed({"alg": "HS256"}, claims(), ""),
    "Django's key": lambda: jwt.encode(claims(), settings.SECRET_KEY, algorithm="HS256"),
    "a key brought along": lambda: signed(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": encoded(STRANGERS_KEY)}, "kid": "../../dev/null"},
        claims(),
        STRANGERS_KEY,
    ),
    "a key elsewhere": lambda: signed({"alg": "HS256", "jku": "http://127.0.0.1/jwks"}, claims(), STRANGERS_KEY),
    "a refresh token": lambda: jwt.encode(claims(token_type="refresh"), settings.JWT_KEY, algorithm="HS256"),
    "an expired one": lambda: jwt.encode(claims(exp=int(time.time()) - 1), settings.JWT_KEY, algorithm="HS256"),
    "a generation that is no number": lambda: jwt.encode(claims(generation="9"), settings.JWT_KEY, algorithm="HS256"),
    "a user that is no number": lambda: jwt.encode(claims(user_id="1"), settings.JWT_KEY, algorithm="HS256"),
    "a user that is a truth": lambda: jwt.encode(claims(user_id=True), settings.JWT_KEY, algorithm="HS256"),
}


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_verified", {})


@pytest.mark.django_db
@pytest.mark.parametrize("what", FORGED)
def test_a_forged_token_is_refused(what: str) -> None:
    refused = Direct().get("/orders", token=FORGED[what]())
    assert refused.outcome == (401, "invalid_token")
    assert auth._verified == {}


@pytest.mark.django_db
def test_a_good_one_is_accepted() -> None:
    assert Direct().get("/orders", token=jwt.encode(claims(), settings.JWT_KEY, algorithm="HS256")).status == 200


@pytest.mark.django_db
def test_control_without_the_signature_a_strangers_token_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = jwt.decode

    def trusting(text: str, *_: Any, **__: Any) -> Any:
        return decode(text, options={"verify_signature": False})

    monkeypatch.setattr(rest_framework_simplejwt.backends.jwt, "decode", trusting)
    assert Direct().get("/orders", token=FORGED["a stranger's key"]()).status == 200
    assert Direct().get("/orders", token=FORGED["unsigned none"]()).status == 200


@pytest.mark.django_db
def test_control_with_any_algorithm_that_of_the_header_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = jwt.decode

    def obliging(text: str, key: Any, *, algorithms: list[str], **rest: Any) -> Any:
        return decode(text, settings.JWT_KEY, algorithms=["HS256", "HS512"], **rest)

    token = jwt.encode(claims(), settings.JWT_KEY, algorithm="HS512")
    assert Direct().get("/orders", token=token).outcome == (401, "invalid_token")
    monkeypatch.setattr(rest_framework_simplejwt.backends.jwt, "decode", obliging)
    assert Direct().get("/orders", token=token).status == 200


@pytest.mark.django_db
def test_whoever_lost_staff_rights_loses_them_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "_first_good", {})
    user = User.objects.create_superuser(f"boss-{uuid.uuid4().hex}", password=PASSWORD)
    tokens = accounts.obtain_tokens(username=user.username, password=PASSWORD)
    assert Direct().get("/balance/999999", token=tokens["access"]).outcome == (404, "user_not_found")
    User.objects.update(is_staff=False)
    assert Direct().get("/balance/999999", token=tokens["access"]).outcome == (403, "not_allowed")  # at once
    revocations.refresh()
    assert Direct().get("/balance/999999", token=tokens["access"]).outcome == (401, "invalid_token")


# --- over HTTP, in every process ------------------------------------------------------------------------------------

CONNECTIONS = 8  # fresh ones, so that each web process gets some


@pytest.fixture
def clients(running_shop: RunningShop, contract: Contract) -> Iterator[list[Client]]:
    made = [Client(running_shop.base_url, contract) for _ in range(CONNECTIONS)]
    yield made
    for one in made:
        one.close()


ENDINGS = {
    "disabled": ("UPDATE shop_user SET is_active = false WHERE id = %s", []),
    "new password": ("UPDATE shop_user SET password = %s WHERE id = %s", [make_password(NEW_PASSWORD)]),
}


@pytest.mark.xdist_group("shop")
@pytest.mark.parametrize("what", ENDINGS)
def test_tokens_end_within_two_seconds_in_every_process(
    what: str, client: Client, clients: list[Client], world: World
) -> None:
    name = f"kim{uuid.uuid4().hex[:12]}"
    user_id = client.post("/auth/signup", {"username": name, "password": PASSWORD}).json["user_id"]
    tokens = client.post("/auth/token", {"username": name, "password": PASSWORD}).json

    def statuses() -> list[int]:
        return [one.get("/orders", token=tokens["access"]).status for one in clients]

    assert statuses() == [200] * CONNECTIONS
    statement, values = ENDINGS[what]
    began = time.monotonic()
    world.rows(statement, *values, user_id)
    assert client.post("/auth/token/refresh", {"refresh": tokens["refresh"]}).outcome == (401, "invalid_token")
    wait_until(lambda: statuses() == [401] * CONNECTIONS)
    assert time.monotonic() - began < 2.0
    again = client.post("/auth/token", {"username": name, "password": NEW_PASSWORD})
    if what == "new password":
        assert client.get("/orders", token=again.json["access"]).status == 200
    else:
        assert again.outcome == (401, "invalid_credentials")
