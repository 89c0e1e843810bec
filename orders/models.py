"""Orders, their lines at the prices of acceptance, and every step they took."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from orders.states import SETTLED, UNSETTLED, Status


class Order(models.Model):
    """
    What a customer asked for; its own outbox: the pipeline finds it by status, no message has to arrive.

    Acceptance order is id order. `refusal` is a failure code whose takings are still to be given back (`release`);
    the order becomes `failed` in the transaction that gives them back. `issuance_id` has no foreign key: the coupon
    may still be at the gate when the order is accepted, `redeem_coupons` decides.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False, verbose_name=_("user")
    )
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.PENDING)
    subtotal = models.BigIntegerField(_("subtotal"))
    discount = models.BigIntegerField(_("discount"), default=0)
    total = models.BigIntegerField(_("total"))
    issuance_id = models.BigIntegerField(_("issuance id"), null=True)
    refusal = models.CharField(_("refusal"), max_length=32, blank=True, default="")
    failure_code = models.CharField(_("failure code"), max_length=32, blank=True, default="")
    request_id = models.CharField(_("request id"), max_length=64, blank=True, default="")
    created_at = models.DateTimeField(_("created at"))
    settled_at = models.DateTimeField(_("settled at"), null=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="order_status_known"),
            models.CheckConstraint(condition=Q(subtotal__gte=0), name="order_subtotal_not_negative"),
            models.CheckConstraint(
                condition=Q(discount__gte=0, discount__lte=F("subtotal"), total=F("subtotal") - F("discount")),
                name="order_total_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(discount=0) | Q(issuance_id__isnull=False), name="order_discount_needs_issuance"
            ),
            models.CheckConstraint(
                condition=Q(status__in=SETTLED, settled_at__isnull=False)
                | Q(status__in=UNSETTLED, settled_at__isnull=True),
                name="order_settled_at_iff_settled",
            ),
            models.CheckConstraint(
                condition=Q(status="failed") & ~Q(failure_code="") | ~Q(status="failed") & Q(failure_code=""),
                name="order_failure_code_iff_failed",
            ),
            models.CheckConstraint(
                condition=Q(refusal="") | Q(status__in=["stock_reserved", "coupon_applied"]),
                name="order_refusal_only_before_release",
            ),
            models.UniqueConstraint(
                "issuance_id",
                condition=Q(status__in=["coupon_applied", "paid"], issuance_id__isnull=False),
                name="order_one_live_per_issuance",
            ),
        ]
        indexes = [
            models.Index("status", "id", name="order_unsettled", condition=Q(status__in=UNSETTLED)),
            models.Index("user", "id", name="order_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


class OrderLine(models.Model):
    """One product in an order, with its name and price at acceptance."""

    order = models.ForeignKey(  # no foreign keys in the database: docs/decisions/0009
        Order, models.PROTECT, related_name="lines", db_index=False, db_constraint=False, verbose_name=_("order")
    )
    product = models.ForeignKey(
        "catalog.Product",
        models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("product"),
    )
    product_name = models.CharField(_("product name"), max_length=200)
    unit_price = models.BigIntegerField(_("unit price"))
    quantity = models.PositiveIntegerField(_("quantity"))

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")
        constraints = [
            models.UniqueConstraint("order", "product", name="order_line_once_per_product"),
            models.CheckConstraint(condition=Q(quantity__gte=1, quantity__lte=1000), name="order_line_quantity_range"),
            models.CheckConstraint(condition=Q(unit_price__gte=0), name="order_line_price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product_name}"


class OrderHistory(models.Model):
    """One step of an order, in the transaction that made it."""

    order = models.ForeignKey(  # no foreign key in the database: docs/decisions/0009
        Order, models.PROTECT, related_name="history", db_constraint=False, verbose_name=_("order")
    )
    status = models.CharField(_("status"), max_length=16, choices=Status)
    at = models.DateTimeField(_("at"))
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="")

    class Meta:
        verbose_name = _("order step")
        verbose_name_plural = _("order steps")

    def __str__(self) -> str:
        return gettext("order %(order)s %(status)s") % {"order": self.order_id, "status": self.get_status_display()}
