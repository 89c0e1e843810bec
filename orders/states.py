"""The states of an order and the edges between them, each with the flow that walks it."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    PENDING = "pending", _("pending")
    STOCK_RESERVED = "stock_reserved", _("stock reserved")
    COUPON_APPLIED = "coupon_applied", _("coupon applied")
    PAID = "paid", _("paid")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


EDGES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.STOCK_RESERVED, Status.FAILED}),  # reserve_stock
    Status.STOCK_RESERVED: frozenset({Status.COUPON_APPLIED, Status.FAILED}),  # redeem_coupons, release
    Status.COUPON_APPLIED: frozenset({Status.PAID, Status.FAILED}),  # take_payments, release
    Status.PAID: frozenset({Status.CANCELLED}),  # cancel_order
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
UNSETTLED = (Status.PENDING, Status.STOCK_RESERVED, Status.COUPON_APPLIED)
SETTLED = (Status.PAID, Status.FAILED, Status.CANCELLED)


def sources(to: Status) -> list[Status]:
    """Return the states from which an order may move to `to`."""
    return [state for state, targets in EDGES.items() if to in targets]
