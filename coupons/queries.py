"""Reads of campaigns and issuances; they change nothing."""

from datetime import datetime
from typing import Any

from coupons.errors import CouponNotFound, IssuanceNotUsable
from coupons.models import Campaign, Issuance
from coupons.states import Status
from shop import cursors

LISTED = (
    "id",
    "name",
    "discount_type",
    "discount_value",
    "max_discount",
    "min_order_amount",
    "total_quantity",
    "issued",
    "opens_at",
    "closes_at",
)
STORED = ("pk", "campaign_id", "status", "position", "issued_at", "expires_at", "used_at", "order_id")


def _offer(row: dict[str, Any]) -> dict[str, Any]:
    """Return a campaign as API.md "Coupons" shows it."""
    shown = {name: row[name] for name in LISTED if name != "issued"}
    shown["remaining"] = row["total_quantity"] - row["issued"]
    return shown


def get_campaign(*, campaign_id: int) -> dict[str, Any]:
    """Return one campaign as clients see it. Raises: CouponNotFound."""
    row = Campaign.objects.filter(pk=campaign_id).values(*LISTED).first()
    if row is None:
        raise CouponNotFound
    return _offer(row)


def list_campaigns(*, size: int, position: cursors.Position | None, now: datetime) -> cursors.Page:
    """Return a page of open and upcoming campaigns, newest first. Shapes: size 1..100."""
    rows = _page_of(Campaign.objects.filter(closes_at__gt=now), position)[: size + 1].values(*LISTED)
    found = list(rows)
    keys = [(row["id"], row["id"]) for row in found]
    return cursors.cut([_offer(row) for row in found], keys, size=size, position=position)


def _page_of(rows: Any, position: cursors.Position | None) -> Any:
    """Narrow a queryset to what lies behind (or before) a position, newest id first."""
    if position is None:
        return rows.order_by("-pk")
    if position.backward:
        return rows.filter(pk__gt=position.row_id).order_by("pk")
    return rows.filter(pk__lt=position.row_id).order_by("-pk")


def list_campaign_ids(*, since: datetime) -> list[int]:
    """Return the campaigns that close after `since`."""
    return list(Campaign.objects.filter(closes_at__gt=since).order_by("pk").values_list("pk", flat=True))


def list_gate_versions(*, since: datetime) -> list[tuple[int, int]]:
    """Return (campaign id, gate version) of the campaigns that close after `since`."""
    return list(Campaign.objects.filter(closes_at__gt=since).values_list("pk", "gate_version"))


def list_places(campaign: Campaign) -> list[tuple[int, int, int]]:
    """Return (user id, position, issuance id) of everybody who holds the campaign's coupon."""
    held = Issuance.objects.filter(campaign=campaign, position__isnull=False)
    rows = held.values_list("user_id", "position", "pk")
    return [(user_id, position, issuance_id) for user_id, position, issuance_id in rows if position is not None]


def _copy(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return an issuance as API.md "Coupons" shows it; past its time it shows `expired` before the clock marks it."""
    is_over = row["status"] == Status.ISSUED and row["expires_at"] <= now
    return {
        "issuance_id": row["pk"],
        "coupon_id": row["campaign_id"],
        "status": Status.EXPIRED.value if is_over else row["status"],
        "position": row["position"],
        "issued_at": row["issued_at"],
        "expires_at": row["expires_at"],
        "used_at": row["used_at"],
        "order_id": row["order_id"],
    }


def find_issuance(*, issuance_id: int, user_id: int, now: datetime) -> dict[str, Any] | None:
    """Return a user's issuance as clients see it, if PostgreSQL knows it."""
    row = Issuance.objects.filter(pk=issuance_id, user_id=user_id).values(*STORED).first()
    return None if row is None else _copy(row, now)


def find_position(issuance_id: int) -> int | None:
    """Return the place of a recorded issuance; None while it is not recorded, or if it was rejected."""
    return Issuance.objects.values_list("position", flat=True).filter(pk=issuance_id).first()


IS_RECORDED = "EXISTS (SELECT FROM coupons_issuance WHERE coupons_issuance.id = {})"
"""SQL that says the same as `is_recorded`, of a column."""


def is_recorded(issuance_id: int) -> bool:
    """Say whether PostgreSQL knows this issuance."""
    return Issuance.objects.filter(pk=issuance_id).exists()


def list_recorded_ids(issuance_ids: list[int]) -> set[int]:
    """Return which of these issuances PostgreSQL knows."""
    return set(Issuance.objects.filter(pk__in=issuance_ids).values_list("pk", flat=True)) if issuance_ids else set()


def list_issuances(
    *, user_id: int, status: str | None, size: int, position: cursors.Position | None, now: datetime
) -> cursors.Page:
    """Return a page of a user's issuances, newest first. Shapes: size 1..100."""
    rows = Issuance.objects.filter(user_id=user_id)
    if status == Status.EXPIRED:
        rows = rows.filter(status__in=[Status.EXPIRED, Status.ISSUED]).exclude(status=Status.ISSUED, expires_at__gt=now)
    elif status == Status.ISSUED:
        rows = rows.filter(status=status, expires_at__gt=now)
    elif status is not None:
        rows = rows.filter(status=status)
    found = list(_page_of(rows, position)[: size + 1].values(*STORED))
    keys = [(row["pk"], row["pk"]) for row in found]
    return cursors.cut([_copy(row, now) for row in found], keys, size=size, position=position)


def check_usable(*, issuance_id: int, user_id: int, now: datetime) -> None:
    """
    Refuse an issuance that is plainly not this user's, or used, or expired; `redeem_coupons` decides later.

    Raises: IssuanceNotUsable, the same for every cause.
    """
    usable = Issuance.objects.filter(pk=issuance_id, user_id=user_id, status=Status.ISSUED, expires_at__gt=now)
    if not usable.exists():
        raise IssuanceNotUsable
