"""Products and campaigns as files: a preview that saves nothing, bad rows by name, and each row through its flow."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from catalog.models import Product
from config.tests.admin_rows import Rows, make_rows
from config.tests.operating import permissions, said, signed_in
from coupons.models import Campaign
from shop.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> Rows:
    rows = make_rows()
    LogEntry.objects.all().delete()
    return rows


@pytest.fixture
def operator() -> Client:
    return signed_in(User.objects.create_superuser("root"))


def preview(client: Client, address: str, text: str) -> Any:
    upload = SimpleUploadedFile("rows.csv", text.encode("utf-8-sig"), "text/csv")
    return client.post(address + "import/", {"import_file": upload, "format": "0", "resource": ""})


def import_rows(client: Client, address: str, text: str) -> Any:
    confirm = preview(client, address, text).context["confirm_form"]
    return client.post(address + "process_import/", confirm.initial, follow=True)


PRODUCTS = "/admin/catalog/product/"
HEAD = "sku,name,description,category,price,image_url,is_hidden\n"
TWO_ROWS = HEAD + "SKU-1,Renamed,,desk,1,,0\nSKU-9,마우스,,desk,2000,,0\n"


def test_product_file_is_previewed_and_saves_nothing_yet(rows: Rows, operator: Client) -> None:
    result = preview(operator, PRODUCTS, TWO_ROWS).context["result"]
    assert [row.import_type for row in result.rows] == ["update", "new"]
    assert list(Product.objects.values_list("name", flat=True)) == ["Keyboard 1"]


def test_product_file_is_saved_when_confirmed_and_leaves_stock_alone(rows: Rows, operator: Client) -> None:
    import_rows(operator, PRODUCTS, TWO_ROWS)
    saved = Product.objects.order_by("pk").values_list("sku", "name", "price", "stock__available")
    assert list(saved) == [("SKU-1", "Renamed", 1, 8), ("SKU-9", "마우스", 2000, 0)]


def test_bad_rows_of_a_product_file_are_named(rows: Rows, operator: Client) -> None:
    result = preview(operator, PRODUCTS, HEAD + "SKU-8,,,desk,5,,0\nSKU-9,Mouse,,desk,-5,,0\n").context["result"]
    assert [row.number for row in result.invalid_rows] == [1, 2]
    assert result.invalid_rows[0].field_specific_errors.keys() == {"name"}


def test_products_are_exported_for_excel(rows: Rows, operator: Client) -> None:
    Product.objects.update(name="=무선 이어폰")
    fields = {"format": "0", "resource": "", **dict.fromkeys(HEAD.strip().split(","), "on")}
    content = operator.post(PRODUCTS + "export/", fields).content
    assert content.startswith(b"\xef\xbb\xbfsku,name")
    assert "SKU-1,'=무선 이어폰,".encode() in content  # the formula is defused


CAMPAIGNS = "/admin/coupons/campaign/"
TERMS = (
    "id,name,discount_type,discount_value,max_discount,min_order_amount,valid_days,total_quantity,opens_at,closes_at\n"
)
WHEN = "2026-03-02 09:00:00,2026-03-03 09:00:00\n"


def test_campaign_file_goes_through_the_flow(rows: Rows, operator: Client) -> None:
    import_rows(operator, CAMPAIGNS, TERMS + f",Autumn,percent,10,,0,30,500,{WHEN}")
    campaign = Campaign.objects.order_by("pk").last()
    assert (campaign.name, campaign.discount_value, campaign.gate_version > 0) == ("Autumn", 10, True)
    assert campaign.opens_at.isoformat() == "2026-03-02T00:00:00+00:00"


@pytest.mark.parametrize(
    "row",
    ["{id},Spring,fixed,900,,0,30,100,", "{id},Spring,fixed,500,,0,30,0,", "987654,Spring,fixed,500,,0,30,100,"],
    ids=["frozen terms", "less than issued", "unknown id"],
)
def test_campaign_file_shows_in_the_preview_what_the_flow_would_refuse(row: str, rows: Rows, operator: Client) -> None:
    answer = preview(operator, CAMPAIGNS, TERMS + row.format(id=rows.campaign.pk) + WHEN)
    result = answer.context["result"]
    assert len(result.invalid_rows) + len(result.error_rows) == 1
    assert Campaign.objects.get().discount_value == 500


def test_a_row_refused_after_the_preview_is_named(rows: Rows, operator: Client) -> None:
    Campaign.objects.update(issued=0)
    text = TERMS + f"{rows.campaign.pk},Spring,fixed,900,,0,30,100,{WHEN}"
    confirm = preview(operator, CAMPAIGNS, text).context["confirm_form"]
    Campaign.objects.update(issued=1)
    answer = operator.post(CAMPAIGNS + "process_import/", confirm.initial, follow=True)
    assert said(answer)[0] == "Not saved, because the shop refused them: rows 1"
    assert Campaign.objects.get().discount_value == 500


def test_import_needs_the_right_to_add_and_to_change(rows: Rows) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    client = signed_in(clerk)
    clerk.user_permissions.set(permissions("catalog", "view_product", "change_product"))
    assert client.get(PRODUCTS + "import/").status_code == 403
    assert client.get(PRODUCTS + "export/").status_code == 200
    clerk.user_permissions.set(permissions("catalog", "view_product", "change_product", "add_product"))
    assert client.get(PRODUCTS + "import/").status_code == 200


def test_a_file_is_saved_once_however_often_it_is_confirmed(rows: Rows, operator: Client) -> None:
    """A campaign without an id is a new one each time."""
    text = TERMS + ",Twice,fixed,500,,0,30,100,2026-06-01 00:00:00,2026-07-01 00:00:00\n"
    confirm = preview(operator, CAMPAIGNS, text).context["confirm_form"]
    for _press in range(2):
        answer = operator.post(CAMPAIGNS + "process_import/", confirm.initial, follow=True)
    assert said(answer) == ["This file has been sent already; see what was saved before you send more."]
    assert Campaign.objects.filter(name="Twice").count() == 1


@pytest.mark.parametrize(("name", "shown"), [("@SUM(1)", "'@SUM(1)"), ("==1", "'==1"), ("+1-2", "'+1-2"), ("-5", "-5")])
def test_what_a_spreadsheet_would_run_is_text(rows: Rows, operator: Client, name: str, shown: str) -> None:
    Product.objects.update(name=name)
    fields = {"format": "0", "resource": "", "sku": "on", "name": "on"}
    assert f"SKU-1,{shown},".encode() in operator.post(PRODUCTS + "export/", fields).content


def test_a_file_that_is_sent_back_as_it_was_exported_changes_nothing(rows: Rows, operator: Client) -> None:
    Product.objects.update(sku="'-A12", name="+1 year", description="- waterproof")
    before = list(Product.objects.values())
    fields = {"format": "0", "resource": "", **dict.fromkeys(HEAD.strip().split(","), "on")}
    import_rows(operator, PRODUCTS, operator.post(PRODUCTS + "export/", fields).content.decode("utf-8-sig"))
    assert list(Product.objects.values()) == before
