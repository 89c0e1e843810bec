"""What an operator or the clock can make happen in the catalogue."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

from catalog import operations
from catalog.errors import StockTooLow
from shop import db, representations, trail
from shop.trail import Act

POPULARITY_DAYS = 30  # how far back `sort=popular` looks


def restock(*, product_id: int, quantity: int, reason: str, now: datetime, operator_id: int | None = None) -> int:
    """
    Add pieces to a product's stock, or write pieces off when negative; return what is available then.

    Transaction: opens one.  Locks: Stock.
    Raises: ProductNotFound, StockTooLow, NotAllowed.
    """
    with db.constraint_errors({"stock_available_not_negative": StockTooLow}), db.transaction():
        available = operations.restock(product_id=product_id, quantity=quantity, reason=reason, now=now)
        if operator_id is not None:
            act = Act("catalog.restock", "catalog.product", product_id, reason, details={"quantity": quantity})
            trail.record(act, operator_id=operator_id, now=now)
        db.run_after_commit(representations.outdate)
    return available


def open_product(*, product_id: int) -> None:
    """Give a new product its stock row and show it at once. Transaction: opens one.  Repeats: harmless."""
    with db.transaction():
        operations.open_stock(product_id=product_id)
        db.run_after_commit(representations.outdate)


def refresh_popularity(*, now: datetime) -> int:
    """
    Let `sort=popular` follow the sales of the last 30 days; return how many products moved.

    Transaction: opens one.  Locks: Product rows that change.  Repeats: harmless.
    """
    today = now.astimezone(ZoneInfo(settings.SHOP_TIME_ZONE)).date()
    with db.transaction():
        return operations.refresh_popularity(since=today - timedelta(days=POPULARITY_DAYS - 1))
