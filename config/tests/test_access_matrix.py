"""The access matrix is true: every cell of it asked of the real handlers, every route in it, every guard needed."""

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client as Browser
from django.urls import URLResolver, get_resolver, path, reverse
from django.utils import timezone

import balance.api
import coupons.places
import orders.queries
from balance.models import Account, Wallet
from config import admin_urls, urls
from config.tests import access_matrix as matrix
from config.tests.access_matrix import API, CALLERS, MODELS, OPERATORS, Row
from config.tests.admin_rows import Rows, make_rows
from config.tests.building import claim, coupon_of, make_campaign, make_product, place, settle
from config.tests.direct import Direct
from config.tests.operating import signed_in
from shop import accounts, auth, connections, health, revocations
from shop.backoffice.pages import ReadOnlyPage, ShopPage
from shop.endpoint import Endpoint
from shop.models import ParkedItem, User

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
            {("other", "200"), ("clerk", "200")},
        ),
        (
            (accounts, "check_operator"),
            lambda **_: None,
            ("/balance/{user_id}",),
            {("clerk", "200")},
        ),
        (
            (revocations, "first_good_generation"),
            lambda user_id: 0,
            ("/orders",),
            {("disabled", "202"), ("disabled", matrix.NOTHING), ("disabled", "409 issuance_not_usable")},
        ),
    ],
    ids=["ownership", "permission", "revocation"],
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


# --- the admin ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> Rows:
    return make_rows()


@pytest.fixture
def browsers(rows: Rows) -> dict[str, Browser]:
    made = {"anonymous": Browser(), "customer": signed_in(rows.user)}
    for name in OPERATORS[2:]:
        user = User.objects.create_user(f"op-{name}", is_staff=True, is_superuser=name in ("disabled", "superuser"))
        user.groups.set(Group.objects.filter(name=name))
        made[name] = signed_in(user)
    User.objects.filter(username="op-disabled").update(is_active=False)
    return made


def met(answer: Any) -> str:
    """Say in the matrix's words what an operator meets."""
    if answer.status_code == 302 and answer.headers["Location"].startswith("/admin/login/"):
        return matrix.SIGN_IN
    return matrix.YES if answer.status_code in (200, 302) else str(answer.status_code)


def model_class(label: str) -> Any:
    return next(model for model in admin_urls.admin.site._registry if model._meta.label_lower == label)


def address_of(label: str, name: str, pk: Any = None) -> str:
    if label == "shop.user" and name == "password_change":
        return reverse("admin:auth_user_password_change", args=[pk])
    arguments = [] if name in ("changelist", "add", "import", "process_import", "export") else [pk]
    return reverse(f"admin:{label.replace('.', '_')}_{name}", args=arguments)


def differing(
    browsers: dict[str, Browser], requests: list[tuple[str, str]], gets: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    for name, browser in browsers.items():
        for method, address in requests:
            if (got := met(getattr(browser, method)(address))) != gets[name]:
                yield f"{method} {address}", name, got


def wrong_of_model(label: str, browsers: dict[str, Browser], pk: Any) -> list[tuple[str, str, str]]:
    """Ask for all pages of a model; forms are sent empty, so that whoever may write is shown what is missing."""
    model = MODELS[label]
    seen = [("get", address_of(label, name, pk)) for name in ("changelist", "change", "history")]
    found = list(differing(browsers, seen, model.see))
    for name, gets in (("add", model.add), ("change", model.change), ("delete", model.delete)):
        found += differing(browsers, [("post", address_of(label, name, pk))], gets)
    for name, gets in model.actions.items():
        methods = ("post",) if name in ("process_import", "export") else ("get", "post")
        found += differing(browsers, [(method, address_of(label, name, pk)) for method in methods], gets)
    return found


def admin_names(patterns: list[Any]) -> set[str]:
    found: set[str] = set()
    for item in patterns:
        found |= admin_names(item.url_patterns) if isinstance(item, URLResolver) else {item.name} - {None}
    return found


def names_in_matrix() -> set[str]:
    found = set(matrix.ADDRESSES)
    for label, model in MODELS.items():
        pages = ("changelist", "add", "change", "delete", "history", *model.actions)
        found |= {f"{label.replace('.', '_')}_{name}" for name in pages}
    return (found - {"shop_user_password_change"}) | {"auth_user_password_change"}


def test_every_address_of_the_admin_has_a_row() -> None:
    assert admin_names(admin_urls.urlpatterns) == names_in_matrix()


def test_control_a_new_page_without_a_row_is_noticed() -> None:
    new = path("orders/order/<int:order_id>/refund/", lambda request: HttpResponse(), name="orders_order_refund")
    assert admin_names([*admin_urls.urlpatterns, new]) - names_in_matrix() == {"orders_order_refund"}


@pytest.mark.parametrize("label", MODELS)
def test_every_operator_meets_what_the_matrix_says(label: str, browsers: dict[str, Browser], rows: Rows) -> None:
    row = rows.user if label == "shop.user" else model_class(label)._base_manager.order_by("pk").first()
    assert wrong_of_model(label, browsers, row.pk) == []


def test_every_operator_meets_what_the_matrix_says_of_an_operators_row(browsers: dict[str, Browser]) -> None:
    boss = User.objects.create_superuser("boss")
    found: list[tuple[str, str, str]] = []
    for name, gets in matrix.OF_STAFF.items():
        found += differing(browsers, [("post", address_of("shop.user", name, boss.pk))], gets)
    assert found == []


@pytest.mark.parametrize("name", [name for name in matrix.ADDRESSES if name != "logout"])
def test_every_operator_meets_what_the_matrix_says_of(name: str, browsers: dict[str, Browser]) -> None:
    arguments: dict[str, list[Any]] = {"view_on_site": [1, 1], "app_list": ["catalog"]}
    requests = [("post" if name == "set_language" else "get", reverse(f"admin:{name}", args=arguments.get(name, [])))]
    assert list(differing(browsers, requests, matrix.ADDRESSES[name])) == []


def test_only_they_retry_what_is_parked(browsers: dict[str, Browser], rows: Rows) -> None:
    got = {}
    for name, browser in browsers.items():
        ParkedItem.objects.update(attempts=5, parked_until=None)
        answer = browser.post("/admin/shop/parkeditem/", {"action": "retry", "_selected_action": [rows.parked.pk]})
        is_retried = ParkedItem.objects.get(pk=rows.parked.pk).attempts == 0
        refusal = met(answer) if met(answer) == matrix.SIGN_IN else matrix.NO
        got[name] = matrix.YES if is_retried else refusal
    assert got == matrix.RETRY


def test_whoever_signs_out_is_out(browsers: dict[str, Browser]) -> None:
    for browser in browsers.values():
        assert browser.post("/admin/logout/").status_code in (200, 302)
        assert met(browser.get("/admin/")) == matrix.SIGN_IN


def test_control_a_read_only_page_that_forgets_to_refuse_is_noticed(
    browsers: dict[str, Browser], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadOnlyPage, "has_change_permission", ShopPage.has_change_permission)
    address = address_of("balance.transfer", "change", Account.objects.get(kind="house_cash").pk)
    found = wrong_of_model("balance.transfer", browsers, rows.wallet.account.debits.get().pk)
    assert {(name, got) for _request, name, got in found} == {("superuser", matrix.YES)}, address


def test_control_an_action_without_its_permission_is_noticed(
    browsers: dict[str, Browser], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = admin_urls.admin.site._registry[Wallet]
    monkeypatch.setattr(page, "has_adjust_permission", lambda request, object_id=None: True)
    found = wrong_of_model("balance.wallet", browsers, rows.wallet.pk)
    assert {name for _request, name, _got in found} >= {"Viewer", "Support"}


# --- the groups and the page ----------------------------------------------------------------------------------------


def test_the_migration_makes_the_groups_once_and_leaves_them_to_the_operators() -> None:
    migration = import_module("orders.migrations.0002_groups")
    before = {group.name: set(group.permissions.values_list("codename", flat=True)) for group in Group.objects.all()}
    assert set(before) == {"Viewer", "Support", "Merchandiser", "Finance"}
    assert all(codename.startswith("view_") for codename in before["Viewer"])
    Group.objects.get(name="Finance").permissions.clear()
    migration.make_groups(apps, None)
    assert Group.objects.get(name="Finance").permissions.count() == 0
    Group.objects.all().delete()
    migration.make_groups(apps, None)
    assert {group.name: set(group.permissions.values_list("codename", flat=True)) for group in Group.objects.all()} == (
        before
    )


def test_the_page_in_the_documentation_is_this_matrix() -> None:
    assert matrix.PAGE.read_text() == matrix.page(), "make access-matrix"


def test_claims_of_the_owner_are_not_everybodys(callers: dict[str, Caller], things: Things) -> None:
    """A claim that waits at the gate, before PostgreSQL knows it, is the claimant's alone as well."""
    placed = claim(things.user_id, make_campaign())
    address = f"/coupons/issuances/{placed.issuance_id}"
    got = {name: Direct().get(address, token=callers[name].access).status for name in CALLERS}
    assert got == {"anonymous": 401, "disabled": 401, "other": 404, "clerk": 404, "finance": 404, "owner": 200}


def test_an_access_token_is_no_way_into_the_admin(callers: dict[str, Caller]) -> None:
    token = auth.access_token_for(user_id=callers["finance"].user_id, is_staff=True)
    assert met(Browser(headers={"authorization": f"Bearer {token}"}).get("/admin/")) == matrix.SIGN_IN
