"""What operators can make happen: each action asks for a reason, writes the history and shows a refusal in words."""

import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

import config.admin_urls
from balance.models import Transfer, Wallet
from catalog.models import Product, Stock, StockMovement
from config.tests.admin_rows import Rows, make_rows
from coupons.models import Campaign, Issuance
from orders.models import Order, OrderHistory
from shop import accounts, throttle
from shop.errors import InvalidCredentials
from shop.models import ParkedItem, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> Rows:
    rows = make_rows()
    LogEntry.objects.all().delete()
    return rows


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def send(client: Client, address: str, **fields: Any) -> HttpResponse:
    """Send an action's form as the page would, with a key of its own, and follow to the page after it."""
    return client.post(address, {"key": str(uuid.uuid4()), "reason": "a customer asked"} | fields, follow=True)


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def history() -> list[tuple[str, str]]:
    return list(LogEntry.objects.order_by("pk").values_list("content_type__model", "change_message"))


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
    term = {"id": rows.order.pk, "request id": rows.order.request_id, "name in capitals": "CUSTOMER1"}[what]
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


def test_terms_freeze_while_the_form_is_open(rows: Rows, operator: Client) -> None:
    """The flow decides under the row lock; here the coupon goes between the form's reading and its saving."""
    Campaign.objects.update(issued=0)
    page = config.admin_urls.admin.site._registry[Campaign]
    original = page.save_model

    def issue_then_save(*args: Any, **kwargs: Any) -> None:
        Campaign.objects.update(issued=1)
        original(*args, **kwargs)

    page.save_model = issue_then_save
    try:
        answer = operator.post(f"/admin/coupons/campaign/{rows.campaign.pk}/change/", CAMPAIGN, follow=True)
    finally:
        del page.save_model
    assert said(answer) == [
        "The terms are frozen. Coupons of this campaign have been issued; make a new campaign instead."
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


# --- the kernel -----------------------------------------------------------------------------------------------------


def test_retry_lets_a_parked_item_be_claimed_again(rows: Rows, operator: Client) -> None:
    fields = {"action": "retry", "_selected_action": [rows.parked.pk]}
    answer = operator.post("/admin/shop/parkeditem/", fields, follow=True)
    assert said(answer) == ["1 item will be tried again."]
    parked = ParkedItem.objects.get()
    assert parked.parked_until is not None
    assert parked.attempts == 0
    assert history() == [("parkeditem", "Retried by an operator.")]


def test_a_new_user_has_a_wallet(operator: Client) -> None:
    fields = {"username": "newcomer", "usable_password": "false"}
    assert operator.post("/admin/shop/user/add/", fields).status_code == 302
    assert Wallet.objects.get().user.username == "newcomer"


def test_a_name_in_other_case_is_taken(rows: Rows, operator: Client) -> None:
    answer = operator.post("/admin/shop/user/add/", {"username": "CUSTOMER1", "usable_password": "false"})
    assert list(answer.context["adminform"].form.errors) == ["username"]
    assert User.objects.filter(username__iexact="customer1").count() == 1


def test_disabling_a_user_ends_their_sessions(rows: Rows, operator: Client) -> None:
    operator.post(f"/admin/shop/user/{rows.user.pk}/change/", {"username": "customer1"})
    user = User.objects.get(pk=rows.user.pk)
    assert (user.is_active, user.token_generation) == (False, 1)


def test_a_new_password_ends_the_sessions_of_the_old_one(rows: Rows, operator: Client) -> None:
    word = "four-horses-9-boats"
    fields = {"password1": word, "password2": word, "usable_password": "true", "set-password": "yes"}
    assert operator.post(f"/admin/shop/user/{rows.user.pk}/password/", fields).status_code == 302
    user = User.objects.get(pk=rows.user.pk)
    assert (user.check_password(word), user.token_generation) == (True, 1)


def test_an_own_new_password_ends_the_sessions_of_the_old_one(rows: Rows) -> None:
    user = User.objects.create_user("clerk", password="old-boats-7-horses", is_staff=True)
    client, word = Client(), "four-horses-9-boats"
    client.force_login(user)
    wrong = {"old_password": "wrong", "new_password1": word, "new_password2": word}
    assert client.post("/admin/password_change/", wrong).status_code == 200
    assert User.objects.get(pk=user.pk).token_generation == 0
    assert client.post("/admin/password_change/", wrong | {"old_password": "old-boats-7-horses"}).status_code == 302
    assert User.objects.get(pk=user.pk).token_generation == 1


def test_the_admin_and_the_api_count_failed_logins_together() -> None:
    name, word = f"clerk-{uuid.uuid4().hex}", "four-horses-9-boats"
    User.objects.create_user(name, password=word, is_staff=True)
    for _ in range(throttle.LOGINS.burst - 1):
        with pytest.raises(InvalidCredentials):
            accounts.obtain_tokens(username=name.upper(), password="wrong")
    answers = [
        Client().post("/admin/login/", {"username": name, "password": password}) for password in (word, "wrong", word)
    ]
    assert [answer.status_code for answer in answers] == [302, 200, 200]
    [message] = answers[2].context["form"].non_field_errors()
    assert message.startswith("Too many failed tries. Wait ")


def test_only_a_superuser_hands_out_rights_or_touches_staff(rows: Rows) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(permissions("shop", "view_user", "change_user"))
    boss = User.objects.create_superuser("boss")
    client = Client()
    client.force_login(clerk)
    grab = {"username": "customer1", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert client.post(f"/admin/shop/user/{rows.user.pk}/change/", grab).status_code == 302
    user = User.objects.get(pk=rows.user.pk)
    assert (user.is_staff, user.is_superuser) == (False, False)
    for address in (f"/admin/shop/user/{boss.pk}/change/", f"/admin/shop/user/{boss.pk}/password/"):
        assert client.post(address, grab).status_code == 403, address
    assert client.post(f"/admin/shop/user/{clerk.pk}/change/", grab).status_code == 403


def permissions(app_label: str, *names: str) -> Any:
    return Permission.objects.filter(content_type__app_label=app_label, codename__in=names)


# --- files ----------------------------------------------------------------------------------------------------------


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
    assert "SKU-1,무선 이어폰,".encode() in content  # the formula is defused


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
    client = Client()
    client.force_login(clerk)
    clerk.user_permissions.set(permissions("catalog", "view_product", "change_product"))
    assert client.get(PRODUCTS + "import/").status_code == 403
    assert client.get(PRODUCTS + "export/").status_code == 200
    clerk.user_permissions.set(permissions("catalog", "view_product", "change_product", "add_product"))
    assert client.get(PRODUCTS + "import/").status_code == 200
