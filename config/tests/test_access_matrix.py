"""The access matrix is true: every cell of it asked of the real handlers, every route in it, every guard needed."""

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import URLResolver, get_resolver, path
from django.utils import timezone

import balance.api
import coupons.places
import orders.queries
from balance.models import Wallet
from config import urls
from config.tests import access_matrix as matrix
from config.tests.access_matrix import API, CALLERS, Row
from config.tests.building import claim, coupon_of, make_campaign, make_product, place, settle
from config.tests.direct import Direct
from shop import accounts, connections, health, revocations
from shop.endpoint import Endpoint
from shop.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "plum-tractor-59"
_numbers = itertools.count(1)


# --- the API --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    user_id: int
    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Things:
    """What the owner has, and what is for all."""

    user_id: int
    product_id: int
    coupon_id: int
    free_coupon_id: int
    issuance_id: int
    order_id: int


@pytest.fixture
def callers() -> Iterator[dict[str, Caller]]:
    made = {name: caller(name) for name in CALLERS if name != "anonymous"}
    User.objects.filter(pk=made["finance"].user_id).get().groups.add(Group.objects.get(name="Finance"))
    User.objects.filter(pk=made["disabled"].user_id).update(is_active=False)
    revocations.refresh()
    yield made | {"anonymous": Caller("anonymous", 0, "", "nonsense")}
    for client in (connections.gate(), connections.flags()):
        client.flushdb()


def caller(name: str) -> Caller:
    username = f"{name}-{uuid.uuid4().hex}"
    user = accounts.sign_up(username=username, password=PASSWORD, now=timezone.now())
    if name in ("clerk", "finance"):
        User.objects.filter(pk=user.pk).update(is_staff=True)
    tokens = accounts.obtain_tokens(username=username, password=PASSWORD)
    return Caller(username, user.pk, tokens["access"], tokens["refresh"])


@pytest.fixture
def things(callers: dict[str, Caller]) -> Things:
    owner = callers["owner"].user_id
    Wallet.objects.filter(user_id=owner).update(balance=100_000)
    product_id, coupon_id = make_product(stock=50), make_campaign()
    order_id = place(owner, (product_id, 1))
    settle()
    issuance_id = coupon_of(owner)
    return Things(owner, product_id, coupon_id, make_campaign(), issuance_id, order_id)


Body = Callable[[Things, Caller], dict[str, Any]]
BODIES: dict[tuple[str, str], Body] = {
    ("/balance/charge", "one's own wallet"): lambda it, who: {"amount": 10},
    ("/balance/charge", "the owner's wallet, by `user_id`"): lambda it, who: {"amount": 10, "user_id": it.user_id},
    ("/coupons/issue", ""): lambda it, who: {"coupon_id": it.free_coupon_id},
    ("/orders", ""): lambda it, who: {"items": [{"product_id": it.product_id, "quantity": 1}]},
    ("/orders", "with the owner's coupon"): lambda it, who: {
        "items": [{"product_id": it.product_id, "quantity": 1}],
        "issuance_id": it.issuance_id,
    },
    ("/orders/{order_id}/cancel", ""): lambda it, who: {},
    ("/auth/signup", "a new name"): lambda it, who: {"username": f"new{next(_numbers)}", "password": PASSWORD},
    ("/auth/token", "with one's own password"): lambda it, who: {"username": who.name, "password": PASSWORD},
    ("/auth/token/refresh", "with one's own refresh token"): lambda it, who: {"refresh": who.refresh},
}


def outcome(client: Direct, row: Row, who: Caller, things: Things) -> str:
    address = row.route.format(
        user_id=things.user_id, product_id=things.product_id, coupon_id=things.coupon_id,
        issuance_id=things.issuance_id, order_id=things.order_id,
    )  # fmt: skip
    body = BODIES[row.route, row.note](things, who) if row.method == "POST" else None
    answer = client.request(row.method, address, body=body, token=who.access)
    said = f"{answer.status} {answer.code}".strip()
    if said != "200" or row.route not in ("/orders", "/coupons/mine"):
        return said
    ids = {item.get("order_id") for item in answer.json["results"]}
    ids |= {item.get("issuance_id") for item in answer.json["results"]}
    return matrix.OWN if ids & {things.order_id, things.issuance_id} else matrix.NOTHING


def wrong_cells(rows: list[Row], callers: dict[str, Caller], things: Things) -> list[tuple[str, str, str]]:
    """Ask for every cell, the owner last, because what the owner may do changes things; return those that differ."""
    client = Direct()
    health.beat_heart()
    found = []
    for row in rows:
        for name in CALLERS:
            if (got := outcome(client, row, callers[name], things)) != row.gets[name]:
                found.append((f"{row.method} {row.route}", name, got))
    return found


def api_routes(patterns: list[Any]) -> set[str]:
    """Return method and path of every operation the shop serves outside the admin."""
    found = set()
    for item in patterns:
        if isinstance(item, URLResolver):
            found |= set() if str(item.pattern) == "admin/" else api_routes(item.url_patterns)
            continue
        address = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(item.pattern))
        view = getattr(item.callback, "view_class", None)
        methods = [name for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)]
        if address != "/admin":  # leads to /admin/
            found |= {f"{name.upper()} {address}" for name in (methods or ["get"])}
    return found


def test_every_operation_of_the_api_has_a_row() -> None:
    assert api_routes(get_resolver().url_patterns) == {f"{row.method} {row.route}" for row in API}


def test_control_a_new_route_without_a_row_is_noticed() -> None:
    new = path("orders/<id64:order_id>/refund", type("Refund", (Endpoint,), {"post": lambda *_: None}).as_view())
    known = {f"{row.method} {row.route}" for row in API}
    assert api_routes([*urls.urlpatterns, new]) - known == {"POST /orders/{order_id}/refund"}


def test_every_caller_gets_what_the_matrix_says(callers: dict[str, Caller], things: Things) -> None:
    assert wrong_cells(API, callers, things) == []


def rows_of(*routes: str) -> list[Row]:
    return [row for row in API if row.route in routes]


@pytest.mark.parametrize(
    ("target", "without", "routes", "cells"),
    [
        (
            (balance.api.OwnAccount, "check_may_act_for"),
            lambda *_: None,
            ("/balance/{user_id}",),
            {("other", "200")},
        ),
        (
            (revocations, "first_good_generation"),
            lambda user_id: 0,
            ("/orders",),
            {("disabled", "202"), ("disabled", matrix.NOTHING), ("disabled", "409 issuance_not_usable")},
        ),
    ],
    ids=["ownership", "revocation"],
)
def test_control_without_a_guard_the_matrix_fails(
    target: tuple[Any, str],
    without: Callable[..., Any],
    routes: tuple[str, ...],
    cells: set[tuple[str, str]],
    callers: dict[str, Caller],
    things: Things,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(*target, without)
    assert {cell[1:] for cell in wrong_cells(rows_of(*routes), callers, things)} == cells


def test_control_rows_that_are_not_filtered_by_their_owner_are_noticed(
    callers: dict[str, Caller], things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = orders.queries.get_order
    monkeypatch.setattr(
        orders.queries, "get_order", lambda *, order_id, user_id: show(order_id=order_id, user_id=things.user_id)
    )
    held = coupons.places.show_issuance
    monkeypatch.setattr(coupons.places, "show_issuance", lambda **asked: held(**asked | {"user_id": things.user_id}))
    rows = rows_of("/orders/{order_id}", "/coupons/issuances/{issuance_id}")
    assert {cell[1:] for cell in wrong_cells(rows, callers, things)} == {
        ("other", "200"), ("clerk", "200"), ("finance", "200")
    }  # fmt: skip


def test_a_refusal_changes_nothing(callers: dict[str, Caller], things: Things) -> None:
    client, before = Direct(), everything_of(things)
    for row in API:
        for name in ("anonymous", "disabled", "other", "clerk"):
            if row.method == "POST" and not row.gets[name].startswith("2"):
                outcome(client, row, callers[name], things)
    assert everything_of(things) == before


def everything_of(things: Things) -> list[Any]:
    return [
        Wallet.objects.filter(user_id=things.user_id).values().get(),
        orders.queries.get_order(order_id=things.order_id, user_id=things.user_id),
        coupons.places.show_issuance(issuance_id=things.issuance_id, user_id=things.user_id, now=timezone.now()),
        User.objects.count(),
    ]


def test_the_page_in_the_documentation_is_this_matrix() -> None:
    assert matrix.PAGE.read_text() == matrix.page(), "make access-matrix"


def test_claims_of_the_owner_are_not_everybodys(callers: dict[str, Caller], things: Things) -> None:
    """A claim that waits at the gate, before PostgreSQL knows it, is the claimant's alone as well."""
    placed = claim(things.user_id, make_campaign())
    address = f"/coupons/issuances/{placed.issuance_id}"
    got = {name: Direct().get(address, token=callers[name].access).status for name in CALLERS}
    assert got == {"anonymous": 401, "disabled": 401, "other": 404, "clerk": 404, "finance": 404, "owner": 200}
