"""The states of an issuance that PostgreSQL knows, and the edges between them with the flow that walks each."""

from django.db import models
from django.utils.translation import gettext_lazy as _

PENDING = "pending"  # a place at the gate that PostgreSQL has not recorded yet; never stored


class Status(models.TextChoices):
    ISSUED = "issued", _("issued")
    USED = "used", _("used")
    EXPIRED = "expired", _("expired")
    REJECTED = "rejected", _("rejected")


EDGES: dict[Status, frozenset[Status]] = {
    Status.ISSUED: frozenset({Status.USED, Status.EXPIRED}),  # orders: redeem_coupons; the clock: expire_issuances
    Status.USED: frozenset({Status.ISSUED}),  # orders: release, cancel_order
    Status.EXPIRED: frozenset(),
    Status.REJECTED: frozenset(),
}
