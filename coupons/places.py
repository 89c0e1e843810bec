"""Reads that need both PostgreSQL and the gate: a claim is at the gate first and in PostgreSQL soon after."""

from datetime import datetime
from typing import Any

from coupons import gate, queries
from coupons.states import PENDING
from shop import cursors
from shop.errors import DependencyUnavailable
from shop.inputs import BIGINT_MAX


def show_issuance(*, issuance_id: int, user_id: int, now: datetime) -> dict[str, Any] | None:
    """
    Return a user's issuance, recorded or still at the gate, as API.md "Coupons" shows it.

    Raises: DependencyUnavailable when PostgreSQL does not know it and Redis does not answer.
    """
    recorded = queries.find_issuance(issuance_id=issuance_id, user_id=user_id, now=now)
    if recorded is not None:
        return recorded
    waiting = gate.find_pending(issuance_id)
    if waiting is None:  # it may have been recorded between the two looks
        return queries.find_issuance(issuance_id=issuance_id, user_id=user_id, now=now)
    if waiting.user_id != user_id:
        return None
    return _pending_copy(issuance_id, waiting.campaign_id, waiting.position)


def list_issuances(
    *, user_id: int, status: str | None, size: int, position: cursors.Position | None, now: datetime
) -> cursors.Page:
    """Return a page of a user's issuances, newest first; claims still at the gate lead the first page."""
    pending = _list_pending(user_id, now=now) if position is None and status in (None, PENDING) else []
    if status == PENDING:
        return cursors.Page(rows=pending[:size])
    recorded = queries.list_issuances(user_id=user_id, status=status, size=size, position=position, now=now)
    known = {row["issuance_id"] for row in recorded.rows}
    fresh = [row for row in pending if row["issuance_id"] not in known][:size]
    return _led_by(fresh, recorded, size=size)


def _led_by(fresh: list[dict[str, Any]], recorded: cursors.Page, *, size: int) -> cursors.Page:
    """Put `fresh` rows before a page; what no longer fits opens the next page."""
    kept = recorded.rows[: size - len(fresh)]
    if len(kept) == len(recorded.rows):
        return cursors.Page(rows=fresh + kept, first=recorded.first, last=recorded.last)
    last_id = kept[-1]["issuance_id"] if kept else BIGINT_MAX
    return cursors.Page(rows=fresh + kept, first=recorded.first, last=cursors.Position(last_id, last_id))


def _list_pending(user_id: int, *, now: datetime) -> list[dict[str, Any]]:
    """Return a user's claims that PostgreSQL does not know yet; none when Redis does not answer."""
    try:
        held = gate.find_places(queries.list_campaign_ids(since=now - gate.KEPT_AFTER_CLOSE), user_id)
    except DependencyUnavailable:
        return []
    recorded = queries.list_recorded_ids([issuance_id for _position, issuance_id in held.values()])
    return [
        _pending_copy(issuance_id, campaign_id, position)
        for campaign_id, (position, issuance_id) in sorted(held.items(), reverse=True)
        if issuance_id not in recorded
    ]


def _pending_copy(issuance_id: int, campaign_id: int, position: int) -> dict[str, Any]:
    """Return a claim that is not recorded yet as API.md shows an issuance."""
    unknown = dict.fromkeys(("issued_at", "expires_at", "used_at", "order_id"))
    return {"issuance_id": issuance_id, "coupon_id": campaign_id, "status": PENDING, "position": position, **unknown}


def is_claim_of(*, issuance_id: int, user_id: int) -> bool:
    """
    Say whether this issuance is a claim of the user's that PostgreSQL does not know yet.

    Raises: DependencyUnavailable when PostgreSQL does not know it and Redis does not answer.
    """
    if queries.is_recorded(issuance_id):
        return False
    waiting = gate.find_pending(issuance_id)
    return waiting is not None and waiting.user_id == user_id
