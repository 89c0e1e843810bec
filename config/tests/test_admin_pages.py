"""What holds for every page of the admin, walked over all registered models: who may see it, and what it costs."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core import checks
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from catalog.models import Product
from config.tests.admin_rows import Rows, make_rows
from config.tests.operating import shown, signed_in
from coupons.models import Campaign
from shop.backoffice.login import LimitedLoginForm
from shop.backoffice.pages import ReadOnlyPage
from shop.models import User

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LABELS = [model._meta.label for model in MODELS]
EDITED = {"auth.Group", "catalog.Product", "coupons.Campaign", "shop.User"}
ACTIONS = (
    ("orders_order_cancel", "order"),
    ("balance_wallet_adjust", "wallet"),
    ("catalog_product_restock", "product"),
    ("coupons_campaign_close", "campaign"),
)
every_model = pytest.mark.parametrize("model", MODELS, ids=LABELS)
pytestmark = pytest.mark.django_db


def page(model: Any, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.fixture
def rows() -> Rows:
    return make_rows()


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def operator(superuser: User) -> Client:
    return signed_in(superuser)


@pytest.fixture
def clerk() -> Client:
    """Staff without any permission."""
    return signed_in(User.objects.create_user("clerk", is_staff=True))


@pytest.fixture
def viewer() -> Client:
    """Staff who may see everything and do nothing."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return signed_in(user)


def test_every_model_of_a_room_has_a_page() -> None:
    rooms = [config for config in apps.get_app_configs() if Path(config.path).parent == settings.BASE_DIR]
    models = {model for config in rooms for model in config.get_models()}
    assert {room.label for room in rooms} == {"shop", "balance", "catalog", "coupons", "orders", "loadtests"}
    assert models - set(MODELS) == set()


def test_checks_find_nothing() -> None:
    assert checks.run_checks(tags=[checks.Tags.admin]) == []


@every_model
def test_superuser_opens_list_row_and_history(model: Any, rows: Rows, operator: Client) -> None:
    row = model._base_manager.order_by("pk").last()
    for address in (page(model, "changelist"), page(model, "change", row.pk), page(model, "history", row.pk)):
        assert operator.get(address).status_code == 200, address
    assert operator.get(page(model, "changelist"), {"q": "1"}).status_code == 200
    assert operator.get(page(model, "changelist"), {"q": "' OR 1=1--"}).status_code == 200
    assert operator.get(page(model, "add")).status_code == (200 if model._meta.label in EDITED else 403)


@every_model
def test_staff_without_permission_and_strangers_stay_out(model: Any, rows: Rows, clerk: Client) -> None:
    row = model._base_manager.order_by("pk").last()
    customer = signed_in(rows.user)
    for address in (page(model, "changelist"), page(model, "change", row.pk), page(model, "add")):
        assert clerk.get(address).status_code == 403, address
        for outsider in (Client(), customer):
            answer = outsider.get(address)
            assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/admin/login/")


@every_model
def test_viewer_sees_and_may_not_write(model: Any, rows: Rows, viewer: Client) -> None:
    row = model._base_manager.order_by("pk").last()
    count = model._base_manager.count()
    assert viewer.get(page(model, "changelist")).status_code == 200
    assert viewer.get(page(model, "change", row.pk)).status_code == 200
    for address in (page(model, "change", row.pk), page(model, "add"), page(model, "delete", row.pk)):
        assert viewer.post(address, {"post": "yes"}).status_code == 403, address
    assert model._base_manager.count() == count


@pytest.mark.parametrize(("name", "attribute"), ACTIONS)
def test_viewer_gets_no_button_and_no_action(name: str, attribute: str, rows: Rows, viewer: Client) -> None:
    row = getattr(rows, attribute)
    address = reverse(f"admin:{name}", args=[row.pk])
    assert address not in viewer.get(page(type(row), "change", row.pk)).text
    assert viewer.get(address).status_code == 403
    assert viewer.post(address, {"reason": "x"}).status_code == 403


@pytest.mark.parametrize(("name", "attribute"), ACTIONS)
def test_superuser_gets_the_button(name: str, attribute: str, rows: Rows, operator: Client) -> None:
    row = getattr(rows, attribute)
    assert reverse(f"admin:{name}", args=[row.pk]) in operator.get(page(type(row), "change", row.pk)).text


@every_model
def test_what_happened_is_read_only_even_for_a_superuser(model: Any, rows: Rows, operator: Client) -> None:
    if model._meta.label in EDITED:
        assert not isinstance(admin.site._registry[model], ReadOnlyPage)
        return
    row = model._base_manager.order_by("pk").last()
    before = model._base_manager.filter(pk=row.pk).values().get()
    for address in (page(model, "change", row.pk), page(model, "add"), page(model, "delete", row.pk)):
        assert operator.post(address, {"post": "yes"}).status_code == 403, address
    assert model._base_manager.filter(pk=row.pk).values().get() == before


def statements(client: Client, address: str) -> list[str]:
    client.get(address)  # fills what is cached for the process (content types)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured]


@every_model
def test_list_costs_the_same_for_one_row_and_for_many(model: Any, rows: Rows, operator: Client) -> None:
    few = statements(operator, page(model, "changelist"))
    make_rows(2)
    make_rows(3)
    assert len(statements(operator, page(model, "changelist"))) == len(few)


@every_model
def test_list_never_counts_a_whole_table(model: Any, rows: Rows, operator: Client) -> None:
    counts = [sql for sql in statements(operator, page(model, "changelist")) if "COUNT(" in sql]
    assert counts != []
    assert [sql for sql in counts if "LIMIT" not in sql] == []


def test_first_page_shows_cards_and_never_counts_a_whole_table(rows: Rows, operator: Client) -> None:
    cards = {str(card["title"]): card["figure"] for card in operator.get("/admin/").context["cards"]}
    assert cards == {
        "orders today": "1",
        "unsettled orders": "0",
        "open campaigns": "1",
        "sold-out products": "0",
        "parked items": "1",
    }
    counts = [sql for sql in statements(operator, "/admin/") if "COUNT(" in sql.upper()]
    assert len(counts) == 5
    assert [sql for sql in counts if "LIMIT" not in sql] == []


def test_cards_need_the_permission_to_see_their_list(rows: Rows, clerk: Client, viewer: Client) -> None:
    assert clerk.get("/admin/").context["cards"] == []
    assert len(viewer.get("/admin/").context["cards"]) == 5


def test_every_card_leads_to_its_list(rows: Rows, operator: Client) -> None:
    addresses = [card["address"] for card in operator.get("/admin/").context["cards"]]
    assert [operator.get(address).status_code for address in addresses] == [200] * 5


def test_times_are_the_shops_and_the_thread_is_left_in_utc(rows: Rows, operator: Client) -> None:
    Campaign.objects.update(opens_at="2026-03-01T15:30:05Z", closes_at="2026-03-02T15:30:05Z")
    assert "2026-03-02 00:30:05" in operator.get(page(Campaign, "changelist")).text
    assert timezone.get_current_timezone_name() == "UTC"


def test_an_entered_time_is_the_shops(operator: Client) -> None:
    fields = {
        "name": "Spring", "discount_type": "percent", "discount_value": "10", "min_order_amount": "0",
        "valid_days": "30", "total_quantity": "5", "opens_at_0": "2026-03-02", "opens_at_1": "00:30:05",
        "closes_at_0": "2026-03-03", "closes_at_1": "00:00:00",
    }  # fmt: skip
    assert operator.post(page(Campaign, "add"), fields).status_code == 302
    assert Campaign.objects.get().opens_at.isoformat() == "2026-03-01T15:30:05+00:00"


def test_language_follows_the_browser_and_the_switch(operator: Client) -> None:
    assert operator.get("/admin/", headers={"accept-language": "ko"}).headers["Content-Language"] == "ko"
    assert operator.get("/admin/", headers={"accept-language": "fr"}).headers["Content-Language"] == "en"
    assert operator.post("/admin/language/", {"language": "ko", "next": "/admin/"}).status_code == 302
    assert operator.get("/admin/", headers={"accept-language": "en"}).headers["Content-Language"] == "ko"


def test_admin_without_slash_leads_in() -> None:
    assert Client().get("/admin").headers["Location"] == "/admin/"


def test_tokens_are_nobodys_to_read() -> None:
    assert [label for label in LABELS if "token" in label.lower()] == []


def test_api_process_imports_no_admin_module() -> None:
    program = """
import sys
import config.wsgi
from django.urls import Resolver404, resolve, reverse
for path in ("/products", "/no/such/path"):
    try: resolve(path)
    except Resolver404: pass
print([name for name in sys.modules if name.startswith(("unfold.sites", "unfold.admin", "import_export.admin"))
       or name.endswith(".admin") and name != "django.contrib.admin"])
resolve("/admin/")
print("orders.admin" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=settings.BASE_DIR, check=True)
    assert done.stdout.split("\n") == ["[]", "True", ""]


def test_a_hidden_product_is_still_listed(rows: Rows, operator: Client) -> None:
    Product.objects.update(is_hidden=True)
    assert "SKU-1" in operator.get(page(Product, "changelist")).text


@pytest.mark.parametrize("address", ["/admin/", "/admin/login/", "/admin/catalog/product/"])
def test_what_no_database_can_store_is_a_400(address: str) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "aaaa\0aaaa"
    assert client.get(address).status_code == 400


@pytest.mark.parametrize("trouble", [OperationalError("lost"), redis.ConnectionError("lost")])
def test_signing_in_without_an_engine_is_a_503(trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedLoginForm, "clean", mock.Mock(side_effect=trouble))
    answer = Client().post("/admin/login/", {"username": "root", "password": "x"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")


def test_a_page_that_cannot_be_read_is_a_503_and_no_way_back_to_itself(rows: Rows, operator: Client) -> None:
    address = page(Product, "change", rows.product.pk)
    with mock.patch("django.contrib.admin.ModelAdmin.get_object", side_effect=OperationalError("lock timeout")):
        assert operator.get(address).status_code == 503


def test_a_campaign_opens_in_a_year_that_can_be_read_again(rows: Rows, operator: Client) -> None:
    address = page(Campaign, "change", rows.campaign.pk)
    form = operator.get(address).context["adminform"].form
    given = {name: "" if value is None else value for name, value in form.initial.items()}
    given |= {"opens_at_0": "0001-01-01", "closes_at_0": "2999-01-01"} | dict.fromkeys(
        ("opens_at_1", "closes_at_1"), "00:00:00"
    )
    answer = operator.post(address, given)
    assert answer.context["adminform"].form.errors.keys() == {"opens_at"}


@pytest.mark.parametrize(
    ("model", "mine", "others"),
    [
        (Campaign, {"name": "Renamed"}, {"closes_at": timezone.now() - timedelta(hours=1)}),
        (Product, {"description": "Mended"}, {"price": 77, "is_hidden": True}),
    ],
)
def test_a_form_that_was_open_meanwhile_changes_only_what_its_operator_changed(
    model: Any, mine: dict[str, str], others: dict[str, Any], rows: Rows, operator: Client
) -> None:
    row = model.objects.get()
    address = page(model, "change", row.pk)
    fields = shown(operator.get(address))
    model.objects.filter(pk=row.pk).update(**others)  # somebody else, who was quicker
    answer = operator.post(address, fields | mine, follow=True)
    assert answer.redirect_chain, answer.context["errors"]
    row.refresh_from_db()
    assert {name: getattr(row, name) for name in mine | others} == mine | others
