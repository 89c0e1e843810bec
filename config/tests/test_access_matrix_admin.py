"""The admin's half of the access matrix is true: asked of the real pages, every address in it, every guard needed."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client as Browser
from django.urls import URLResolver, path, reverse

from balance.models import Account, Wallet
from config import admin_urls
from config.tests import access_matrix as matrix
from config.tests.access_matrix import MODELS, OPERATORS
from config.tests.admin_rows import Rows, make_rows
from config.tests.operating import signed_in
from shop import auth
from shop.backoffice.pages import ReadOnlyPage, ShopPage
from shop.models import ParkedItem, User

pytestmark = pytest.mark.django_db


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


def test_an_access_token_is_no_way_into_the_admin() -> None:
    boss = User.objects.create_superuser("boss")
    token = auth.access_token_for(user_id=boss.pk, is_staff=True)
    assert met(Browser(headers={"authorization": f"Bearer {token}"}).get("/admin/")) == matrix.SIGN_IN
