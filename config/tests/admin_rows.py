"""One row of every table, wired together as the shop would leave it: a paid order with all that belongs to it."""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.utils import timezone

from balance.models import HOUSE_CASH_ID, HOUSE_REVENUE_ID, Account, Transfer, Wallet
from catalog.models import DailySales, Product, Stock, StockMovement
from coupons.models import Campaign, Issuance
from orders.models import Order, OrderHistory, OrderLine
from shop.models import IdempotencyRecord, OperatorAction, ParkedItem, StageRun, User


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that tests look at; `order` is paid with 2 pieces of `product` and the coupon of `issuance`."""

    user: User
    wallet: Wallet
    product: Product
    campaign: Campaign
    issuance: Issuance
    order: Order
    parked: ParkedItem


def make_rows(number: int = 1) -> Rows:
    """Make one more set of rows; `number` keeps unique columns apart."""
    user = User.objects.create_user(f"customer{number}")
    wallet = make_wallet(user)
    product = make_product(number)
    campaign, issuance = make_coupon(number, user)
    order = make_paid_order(user, wallet, product, issuance)
    parked = make_kernel_rows(number, user)
    return Rows(user, wallet, product, campaign, issuance, order, parked)


def make_wallet(user: User) -> Wallet:
    now = timezone.now()
    wallet = Wallet.objects.create(
        account=Account.objects.create(kind="wallet"), user=user, balance=7_500, updated_at=now
    )
    Transfer.objects.create(
        kind="charge", reference=f"charge-{user.pk}", debit_account_id=HOUSE_CASH_ID, credit_account=wallet.account,
        amount=10_000, balance_after=10_000, created_at=now,
    )  # fmt: skip
    return wallet


def make_product(number: int) -> Product:
    now = timezone.now()
    product = Product.objects.create(
        sku=f"SKU-{number}", name=f"Keyboard {number}", category="desk", price=1_500, created_at=now
    )
    Stock.objects.create(product=product, available=8)
    StockMovement.objects.create(product=product, kind="restock", delta=10, reason="first delivery", created_at=now)
    DailySales.objects.create(date=timezone.localdate(), product=product, units=2, revenue=3_000)
    return product


def make_coupon(number: int, user: User) -> tuple[Campaign, Issuance]:
    now = timezone.now()
    campaign = Campaign.objects.create(
        name=f"Spring {number}", discount_type="fixed", discount_value=500, total_quantity=100, issued=1,
        opens_at=now - timedelta(days=1), closes_at=now + timedelta(days=1),
    )  # fmt: skip
    issuance = Issuance.objects.create(
        pk=2**32 * number + 1, campaign=campaign, user=user, position=1, status="issued",
        issued_at=now, expires_at=now + timedelta(days=30),
    )  # fmt: skip
    return campaign, issuance


def make_paid_order(user: User, wallet: Wallet, product: Product, issuance: Issuance) -> Order:
    now = timezone.now()
    order = Order.objects.create(
        user=user, status="paid", subtotal=3_000, discount=500, total=2_500, issuance_id=issuance.pk,
        request_id=f"request-{issuance.pk}", created_at=now, settled_at=now,
    )  # fmt: skip
    Issuance.objects.filter(pk=issuance.pk).update(status="used", used_at=now, order_id=order.pk)
    OrderLine.objects.create(order=order, product=product, product_name=product.name, unit_price=1_500, quantity=2)
    for status in ("pending", "stock_reserved", "coupon_applied", "paid"):
        OrderHistory.objects.create(order=order, status=status, at=now)
    StockMovement.objects.create(product=product, kind="reserve", delta=-2, order_id=order.pk, created_at=now)
    Transfer.objects.create(
        kind="payment", reference=str(order.pk), debit_account=wallet.account, credit_account_id=HOUSE_REVENUE_ID,
        amount=2_500, balance_after=7_500, order_id=order.pk, created_at=now,
    )  # fmt: skip
    return order


def make_kernel_rows(number: int, user: User) -> ParkedItem:
    now = timezone.now()
    Group.objects.create(name=f"group {number}")
    StageRun.objects.create(stage=f"orders.stage{number}", size=200, began_at=now)
    IdempotencyRecord.objects.create(
        user_id=user.pk, route="orders", key=f"key-{number}", fingerprint=b"\x01" * 32, status=200, answer={},
        created_at=now,
    )  # fmt: skip
    OperatorAction.objects.create(
        operator_id=user.pk, operator_name=user.username, action="orders.cancel", object_type="orders.order",
        object_id=number, amount=2_500, reason="a customer asked", created_at=now,
    )  # fmt: skip
    LogEntry.objects.log_actions(user.pk, [user], action_flag=CHANGE, change_message="because")
    return ParkedItem.objects.create(
        stage="orders.take_payments", item_id=number, attempts=5, last_error="DataError('x')", updated_at=now
    )
