"""
A small shop in which everything adds up: seeded orders, and one of each kind of order and coupon that is under way.

For the tests of invariants in every app: each breaks one row of it and must see that row named.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from balance.models import HOUSE_REVENUE_ID, Transfer, Wallet
from catalog.models import DailySales, Product, Stock, StockMovement
from coupons.models import Campaign, Issuance
from orders.models import Order, OrderHistory, OrderLine
from orders.states import SETTLED, Status
from shop import db, seeding

PATH = [Status.PENDING, Status.STOCK_RESERVED, Status.COUPON_APPLIED, Status.PAID]
DISCOUNT = 500


@dataclass(slots=True)
class SoundShop:
    """What the tests break: orders by how far they got, issuances by status; `now` is when all of it happened."""

    now: datetime
    orders: dict[str, int] = field(default_factory=dict)
    issuances: dict[str, int] = field(default_factory=dict)
    campaign_ids: list[int] = field(default_factory=list)


def build() -> SoundShop:
    """Build it. The foreign keys are checked at once, so that tests may change tables afterwards."""
    shop = SoundShop(now=timezone.now())
    seeding.seed(
        wish=seeding.Wish(counts={"users": 20, "products": 30, "orders": 400}), now=shop.now, progress=lambda *_: None
    )
    user_ids = list(Wallet.objects.order_by("-balance").values_list("user_id", flat=True))  # they can afford an order
    _add_coupons(shop, user_ids)
    for position, status in enumerate(PATH):
        issuance_id = shop.issuances.get(f"used by {status}")
        shop.orders[status] = add_order(shop, user_ids[position], status, issuance_id=issuance_id)
    shop.orders["refused"] = add_order(shop, user_ids[5], Status.STOCK_RESERVED, refusal="issuance_not_usable")
    _use_coupons(shop)
    db.rows("SET CONSTRAINTS ALL IMMEDIATE")
    return shop


def _add_coupons(shop: SoundShop, user_ids: list[int]) -> None:
    """Two campaigns; users 2 and 3 will use theirs, the others of the first campaign have one in every status."""
    for issued in (4, 1):
        campaign = Campaign.objects.create(
            name="off",
            discount_type="fixed",
            discount_value=DISCOUNT,
            total_quantity=10,
            issued=issued,
            opens_at=shop.now - timedelta(days=1),
            closes_at=shop.now + timedelta(days=1),
        )
        shop.campaign_ids.append(campaign.pk)
    first, second = shop.campaign_ids
    rows = [
        ("used by paid", first, user_ids[3], 1, "issued"),
        ("issued", first, user_ids[6], 2, "issued"),
        ("expired", first, user_ids[7], 3, "expired"),
        ("issued too", first, user_ids[8], 4, "issued"),
        ("rejected", first, user_ids[9], None, "rejected"),
        ("used by coupon_applied", second, user_ids[2], 1, "issued"),
    ]
    for name, campaign_id, user_id, position, status in rows:
        shop.issuances[name] = Issuance.objects.create(
            campaign_id=campaign_id,
            user_id=user_id,
            position=position,
            status=status,
            issued_at=shop.now,
            expires_at=shop.now + timedelta(days=30),
        ).pk


def _use_coupons(shop: SoundShop) -> None:
    for status in ("paid", "coupon_applied"):
        Issuance.objects.filter(pk=shop.issuances[f"used by {status}"]).update(
            status="used", used_at=shop.now, order_id=shop.orders[status]
        )


def add_order(
    shop: SoundShop, user_id: int, status: Status, *, issuance_id: int | None = None, refusal: str = ""
) -> int:
    """Add an order of one product that has just come as far as `status`, with all it did on the way."""
    product = Product.objects.order_by("pk")[len(shop.orders)]
    discount = DISCOUNT if issuance_id is not None else 0
    subtotal = 2 * product.price
    order = Order.objects.create(
        user_id=user_id,
        status=status,
        subtotal=subtotal,
        discount=discount,
        total=subtotal - discount,
        issuance_id=issuance_id,
        refusal=refusal,
        created_at=shop.now,
        settled_at=shop.now if status in SETTLED else None,
    )
    OrderLine.objects.create(
        order=order, product=product, product_name=product.name, unit_price=product.price, quantity=2
    )
    steps = PATH[: PATH.index(status) + 1]
    OrderHistory.objects.bulk_create(OrderHistory(order=order, status=step, at=shop.now) for step in steps)
    if Status.STOCK_RESERVED in steps:
        _reserve(order, product)
    if Status.PAID in steps:
        _pay(order, product)
    return order.pk


def _reserve(order: Order, product: Product) -> None:
    Stock.objects.filter(pk=product.pk).update(available=F("available") - 2)
    StockMovement.objects.create(
        product=product, kind="reserve", delta=-2, order_id=order.pk, created_at=order.created_at
    )


def _pay(order: Order, product: Product) -> None:
    wallet = Wallet.objects.get(user_id=order.user_id)
    wallet.balance -= order.total
    wallet.save()
    Transfer.objects.create(
        kind="payment",
        reference=str(order.pk),
        debit_account_id=wallet.pk,
        credit_account_id=HOUSE_REVENUE_ID,
        amount=order.total,
        balance_after=wallet.balance,
        order_id=order.pk,
        created_at=order.created_at,
    )
    day = order.created_at.astimezone(ZoneInfo(settings.SHOP_TIME_ZONE)).date()
    sales, _created = DailySales.objects.get_or_create(date=day, product=product, defaults={"units": 0, "revenue": 0})
    DailySales.objects.filter(pk=sales.pk).update(units=F("units") + 2, revenue=F("revenue") + order.subtotal)


def damage(statement: str, **params: object) -> None:
    """Change rows as no code of the shop could: past the triggers and foreign keys."""
    db.rows("SET LOCAL session_replication_role = replica")
    db.rows(statement, params)
    db.rows("SET LOCAL session_replication_role = origin")
