"""What operators can make happen: each action asks for a reason, writes the history and shows a refusal in words."""

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client

from balance.models import Transfer, Wallet
from catalog.models import Product, Stock, StockMovement
from config.tests.admin_rows import Rows, make_rows
from config.tests.operating import history, said, send, signed_in
from coupons.models import Campaign, Issuance
from orders.models import Order, OrderHistory
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


# --- orders ---------------------------------------------------------------------------------------------------------


def test_order_page_shows_what_belongs_to_the_order(rows: Rows, operator: Client) -> None:
    text = operator.get(f"/admin/orders/order/{rows.order.pk}/change/").text
    transfer = Transfer.objects.get(order_id=rows.order.pk)
    movement = StockMovement.objects.get(order_id=rows.order.pk)
    for part in (
        rows.order.request_id,
        "2,500 KRW",
        "Keyboard 1",
        "coupon applied",
        f"/admin/balance/transfer/{transfer.pk}/change/",
        f"/admin/catalog/stockmovement/{movement.pk}/change/",
        f"/admin/coupons/issuance/{rows.issuance.pk}/change/",
    ):
        assert part in text, part


@pytest.mark.parametrize("what", ["id", "request id", "name in capitals"])
def test_an_order_is_found(what: str, rows: Rows, operator: Client) -> None:
    make_rows(2)
    term = {"id": str(rows.order.pk), "request id": rows.order.request_id, "name in capitals": "CUSTOMER1"}[what]
    listed = operator.get("/admin/orders/order/", {"q": term}).context["cl"].result_list
    assert [order.pk for order in listed] == [rows.order.pk]


def test_cancel_shows_before_and_after_and_changes_nothing_yet(rows: Rows, operator: Client) -> None:
    answer = operator.get(f"/admin/orders/order/{rows.order.pk}/cancel/")
    shown = [(str(it.what), str(it.before), str(it.after)) for it in answer.context["changes"]]
    assert shown == [
        ("status", "paid", "cancelled"),
        ("paid", "2,500 KRW", "0 KRW"),
        ("taken from stock: Keyboard 1", "2", "0"),
        ("coupon", "used", "usable again"),
    ]
    assert Order.objects.get().status == "paid"


def test_cancel_gives_everything_back_and_keeps_the_reason(rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/orders/order/{rows.order.pk}/cancel/")
    assert said(answer) == ["Done: Cancel order"]
    assert Order.objects.get().status == "cancelled"
    assert Wallet.objects.get().balance == 10_000
    assert Stock.objects.get().available == 10
    assert Issuance.objects.get().status == "issued"
    assert OrderHistory.objects.order_by("pk").last().reason == "a customer asked"
    assert history() == [("order", "Cancel order: a customer asked")]


def test_cancel_without_a_reason_changes_nothing(rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/orders/order/{rows.order.pk}/cancel/", reason=" ")
    assert answer.context["form"].errors.keys() == {"reason"}
    assert (Order.objects.get().status, history()) == ("paid", [])


def test_cancel_of_a_cancelled_order_is_refused_in_words(rows: Rows, operator: Client) -> None:
    address = f"/admin/orders/order/{rows.order.pk}/cancel/"
    send(operator, address)
    answer = send(operator, address)
    assert answer.status_code == 200
    assert len(said(answer)) == 1
    assert "cancel" in said(answer)[0]
    assert Wallet.objects.get().balance == 10_000
    assert len(history()) == 1


def test_an_action_on_what_does_not_exist_is_404(rows: Rows, operator: Client) -> None:
    assert send(operator, "/admin/orders/order/999999/cancel/").status_code == 404


# --- balance --------------------------------------------------------------------------------------------------------


def test_adjust_shows_the_new_balance_first(rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/balance/wallet/{rows.wallet.pk}/adjust/", amount="-500")
    [change] = answer.context["changes"]
    assert (change.before, change.after) == ("7,500 KRW", "7,000 KRW")
    assert Wallet.objects.get().balance == 7_500


def test_adjust_confirmed_books_a_transfer_once(rows: Rows, operator: Client) -> None:
    address, key = f"/admin/balance/wallet/{rows.wallet.pk}/adjust/", str(uuid.uuid4())
    first = send(operator, address, amount="-500", confirmed="yes", key=key)
    second = send(operator, address, amount="-500", confirmed="yes", key=key)
    assert said(first) == ["Done: Adjust balance"]
    assert said(second) == ["This was already sent once; it is not done again: Adjust balance"]
    assert Wallet.objects.get().balance == 7_000
    transfer = Transfer.objects.get(kind="adjustment")
    assert (transfer.amount, transfer.balance_after, transfer.reason) == (500, 7_000, "a customer asked")
    assert history() == [("wallet", "Adjust balance: a customer asked")]


def test_adjust_below_zero_is_refused_in_words(rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/balance/wallet/{rows.wallet.pk}/adjust/", amount="-7501", confirmed="yes")
    assert said(answer) == ["The balance is too low. Charge the wallet and try again."]
    assert (Wallet.objects.get().balance, history()) == (7_500, [])


@pytest.mark.parametrize("amount", ["0", "", "1.5", "x", "1000000001", "9" * 30])
def test_adjust_by_a_bad_amount_is_an_error_of_the_field(amount: str, rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/balance/wallet/{rows.wallet.pk}/adjust/", amount=amount, confirmed="yes")
    assert answer.context["form"].errors.keys() == {"amount"}
    assert Wallet.objects.get().balance == 7_500


@pytest.mark.parametrize("what", ["name", "order", "reference"])
def test_a_transfer_is_found(what: str, rows: Rows, operator: Client) -> None:
    make_rows(2)
    term, kinds = {
        "name": ("customer1", ["payment", "charge"]),
        "order": (str(rows.order.pk), ["payment"]),
        "reference": (f"charge-{rows.user.pk}", ["charge"]),
    }[what]
    listed = operator.get("/admin/balance/transfer/", {"q": term}).context["cl"].result_list
    mine = [it.kind for it in listed if it.order_id in (None, rows.order.pk) and rows.wallet.pk in
            (it.debit_account_id, it.credit_account_id)]  # fmt: skip
    assert mine == kinds
    assert what == "order" or len(listed) == len(kinds)  # a number may be a transfer's own id, too


# --- catalogue ------------------------------------------------------------------------------------------------------


def test_restock_moves_stock_with_its_reason(rows: Rows, operator: Client) -> None:
    address = f"/admin/catalog/product/{rows.product.pk}/restock/"
    [change] = send(operator, address, quantity="25").context["changes"]
    assert (change.before, change.after) == ("8", "33")
    assert said(send(operator, address, quantity="25", confirmed="yes")) == ["Done: Restock"]
    assert Stock.objects.get().available == 33
    movement = StockMovement.objects.order_by("pk").last()
    assert (movement.kind, movement.delta, movement.reason) == ("restock", 25, "a customer asked")
    assert history() == [("product", "Restock: a customer asked")]


def test_writing_off_more_than_there_is_is_refused_in_words(rows: Rows, operator: Client) -> None:
    answer = send(operator, f"/admin/catalog/product/{rows.product.pk}/restock/", quantity="-9", confirmed="yes")
    assert said(answer) == ["There is not that much stock. Write off at most what is available."]
    assert (Stock.objects.get().available, history()) == (8, [])


PRODUCT = {"sku": "NEW", "name": "새 키보드", "category": "desk", "price": "900", "description": "", "image_url": ""}


def test_a_new_product_gets_its_stock_row(operator: Client) -> None:
    assert operator.post("/admin/catalog/product/add/", PRODUCT).status_code == 302
    product = Product.objects.get()
    assert (product.name, product.price, product.stock.available) == ("새 키보드", 900, 0)


def test_a_price_is_edited_and_stock_is_not(rows: Rows, operator: Client) -> None:
    address = f"/admin/catalog/product/{rows.product.pk}/change/"
    assert operator.post(address, PRODUCT | {"shown_stock": "99", "popularity": "5"}).status_code == 302
    product = Product.objects.get()
    assert (product.price, product.popularity, product.stock.available) == (900, 0, 8)


def test_a_taken_sku_or_a_negative_price_is_an_error_of_the_form(rows: Rows, operator: Client) -> None:
    for wrong in ({"sku": "SKU-1"}, {"price": "-1"}):
        answer = operator.post("/admin/catalog/product/add/", PRODUCT | wrong)
        assert answer.status_code == 200
        assert len(answer.context["adminform"].form.errors) == 1
    assert Product.objects.count() == 1


# --- coupons --------------------------------------------------------------------------------------------------------

CAMPAIGN = {
    "name": "Autumn", "discount_type": "fixed", "discount_value": "700", "max_discount": "", "min_order_amount": "0",
    "total_quantity": "50", "valid_days": "30", "opens_at_0": "2026-03-02", "opens_at_1": "09:00:00",
    "closes_at_0": "2026-03-03", "closes_at_1": "09:00:00",
}  # fmt: skip


def test_a_campaign_is_made_and_edited_until_somebody_has_its_coupon(operator: Client) -> None:
    operator.post("/admin/coupons/campaign/add/", CAMPAIGN)
    campaign = Campaign.objects.get()
    operator.post(f"/admin/coupons/campaign/{campaign.pk}/change/", CAMPAIGN | {"discount_value": "800"})
    edited = Campaign.objects.get()
    assert (edited.discount_value, edited.gate_version > campaign.gate_version) == (800, True)


def test_terms_are_frozen_once_issued_and_the_rest_is_not(rows: Rows, operator: Client) -> None:
    address = f"/admin/coupons/campaign/{rows.campaign.pk}/change/"
    assert operator.post(address, CAMPAIGN).status_code == 302
    edited = Campaign.objects.get()
    assert (edited.name, edited.total_quantity, edited.discount_value, edited.issued) == ("Autumn", 50, 500, 1)
    assert 'name="discount_value"' not in operator.get(address).text


def test_terms_freeze_while_the_form_is_open(rows: Rows, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow decides under the row lock; here the coupon goes between the form's reading and its saving."""
    Campaign.objects.update(issued=0)
    page = admin.site._registry[Campaign]
    save = page.save_model

    def issue_then_save(*args: Any) -> None:
        Campaign.objects.update(issued=1)
        save(*args)

    monkeypatch.setattr(page, "save_model", issue_then_save)
    answer = operator.post(f"/admin/coupons/campaign/{rows.campaign.pk}/change/", CAMPAIGN, follow=True)
    assert said(answer) == [
        "The terms are frozen. Somebody holds a coupon of this campaign; make a new campaign instead."
    ]
    assert Campaign.objects.get().discount_value == 500


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"closes_at_0": "2026-03-01"}, "closes_at"),
        ({"discount_type": "percent", "discount_value": "101"}, "discount_value"),
        ({"discount_value": "0"}, "__all__"),
    ],
)
def test_what_the_table_would_refuse_is_an_error_of_the_form(
    wrong: dict[str, str], field: str, operator: Client
) -> None:
    answer = operator.post("/admin/coupons/campaign/add/", CAMPAIGN | wrong)
    assert field in answer.context["adminform"].form.errors
    assert Campaign.objects.count() == 0


def test_total_below_issued_is_an_error_of_the_field(rows: Rows, operator: Client) -> None:
    Campaign.objects.update(issued=7)
    answer = operator.post(f"/admin/coupons/campaign/{rows.campaign.pk}/change/", CAMPAIGN | {"total_quantity": "6"})
    assert answer.context["adminform"].form.errors == {"total_quantity": ["7 are issued already."]}


def test_close_ends_a_campaign_now(rows: Rows, operator: Client) -> None:
    assert said(send(operator, f"/admin/coupons/campaign/{rows.campaign.pk}/close/")) == ["Done: Close now"]
    assert Campaign.objects.get().closes_at < rows.campaign.closes_at
    assert history() == [("campaign", "Close now: a customer asked")]
