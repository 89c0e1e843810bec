"""Campaigns (what the shop offers) and issuances (one user's copy of an offer)."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from coupons.states import Status


class DiscountType(models.TextChoices):
    FIXED = "fixed", _("fixed amount")
    PERCENT = "percent", _("per cent")


# Midnight of the year 1 in Seoul lies before it in UTC, where Python has no dates: nobody could read such a row again.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
IN_CALENDAR = [MinValueValidator(EARLIEST), MaxValueValidator(LATEST - timedelta(days=1))]


class Campaign(models.Model):
    """
    A first-come offer. `issued` counts its issuances and never passes `total_quantity`.

    Discount terms are frozen from the first claim on (invariant O2). `gate_version` changes with whatever outdates
    the Redis gate; a gate of another version is demolished (Note [Gate versions] in coupons/gate.py).
    """

    name = models.CharField(_("name"), max_length=200)
    discount_type = models.CharField(_("discount type"), max_length=8, choices=DiscountType)
    discount_value = models.BigIntegerField(_("discount value"))
    max_discount = models.BigIntegerField(_("highest discount"), null=True, blank=True)
    min_order_amount = models.BigIntegerField(_("lowest order amount"), default=0)
    total_quantity = models.PositiveIntegerField(_("total quantity"))
    issued = models.PositiveIntegerField(_("issued"), default=0, editable=False)
    opens_at = models.DateTimeField(_("opens at"), validators=IN_CALENDAR)
    closes_at = models.DateTimeField(_("closes at"), validators=IN_CALENDAR)
    valid_days = models.PositiveSmallIntegerField(_("days an issued coupon is valid"), default=30)
    gate_version = models.PositiveIntegerField(_("gate version"), default=0, editable=False)

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints = [
            models.CheckConstraint(condition=Q(issued__lte=F("total_quantity")), name="campaign_issued_within_total"),
            models.CheckConstraint(condition=Q(opens_at__lt=F("closes_at")), name="campaign_opens_before_it_closes"),
            models.CheckConstraint(
                condition=Q(opens_at__gte=EARLIEST, closes_at__lt=LATEST), name="campaign_times_in_calendar"
            ),
            models.CheckConstraint(
                condition=Q(discount_type="fixed", discount_value__gt=0)
                | Q(discount_type="percent", discount_value__gte=1, discount_value__lte=100),
                name="campaign_discount_value_in_range",
            ),
            models.CheckConstraint(
                condition=Q(max_discount__isnull=True) | Q(max_discount__gt=0), name="campaign_max_discount_positive"
            ),
            models.CheckConstraint(condition=Q(min_order_amount__gte=0), name="campaign_min_order_not_negative"),
            models.CheckConstraint(condition=Q(valid_days__gte=1), name="campaign_valid_days_positive"),
        ]
        indexes = [models.Index("closes_at", name="campaign_by_close")]

    def __str__(self) -> str:
        return self.name


class Issuance(models.Model):
    """
    One user's place in a campaign. Positions are 1..n without a gap in the order of arrival (invariant C1).

    The gate names ids itself (epoch * 2^32 + position), so a claim has its id before PostgreSQL knows it.
    `rejected`: the gate's claim outlived its place (Redis restored from an old file); it has no position.
    """

    campaign = models.ForeignKey(Campaign, models.PROTECT, related_name="issuances", verbose_name=_("campaign"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False, verbose_name=_("user")
    )
    position = models.PositiveIntegerField(_("position"), null=True)
    status = models.CharField(_("status"), max_length=8, choices=Status)
    issued_at = models.DateTimeField(_("issued at"))
    expires_at = models.DateTimeField(_("expires at"))
    used_at = models.DateTimeField(_("used at"), null=True)
    order_id = models.BigIntegerField(_("order id"), null=True)

    class Meta:
        verbose_name = _("issuance")
        verbose_name_plural = _("issuances")
        constraints = [
            models.UniqueConstraint("campaign", "user", condition=~Q(status="rejected"), name="issuance_once_per_user"),
            models.UniqueConstraint("campaign", "position", name="issuance_place_taken_once"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="issuance_status_known"),
            models.CheckConstraint(
                condition=Q(status="rejected", position__isnull=True)
                | ~Q(status="rejected") & Q(position__gte=1, position__isnull=False),
                name="issuance_position_unless_rejected",
            ),
            models.CheckConstraint(
                condition=Q(status="used", used_at__isnull=False, order_id__isnull=False)
                | ~Q(status="used") & Q(used_at__isnull=True, order_id__isnull=True),
                name="issuance_used_by_one_order",
            ),
        ]
        indexes = [
            models.Index("expires_at", name="issuance_by_expiry", condition=Q(status="issued")),
            models.Index("user", "id", name="issuance_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"
