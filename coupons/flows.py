"""What can happen to coupons: a customer claims, the worker records, the operator edits, the clock expires."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from coupons import gate, operations, queries
from coupons.errors import (
    CouponAlreadyIssued,
    CouponClosed,
    CouponNotOpen,
    CouponSoldOut,
    QuantityTooLow,
    TermsContradict,
    TermsFrozen,
)
from coupons.models import Campaign, Issuance
from coupons.operations import Place
from coupons.states import Status
from shop import admission, db, failpoints, idempotency, pipeline, representations, trail, wakeups
from shop.errors import Busy, DependencyUnavailable, InvalidToken, NotFound, Overloaded, Refused
from shop.idempotency import Key
from shop.models import ParkedItem
from shop.trail import Act

RECORD_CLAIMS = "coupons.record_claims"
ROW_LOCK_CLAIMS = threading.BoundedSemaphore(4)  # FAULTS.md section 7: claims at once while Redis is away
ROW_LOCK_WAIT_SECONDS = 0.1
REBUILDING = threading.Lock()  # one rebuild at a time in a process; others wait for it instead of queueing at the row
REBUILD_WAIT_SECONDS = 2.0
REBUILD_ATTEMPTS = 3  # a sweep that looked before the rebuild's commit demolishes the new gate as nobody's
CONSISTENT = ("campaign_opens_before_it_closes", "campaign_discount_value_in_range")
FROZEN_TERMS = ("discount_type", "discount_value", "max_discount", "min_order_amount")
_outdated: dict[int, int] = {}  # campaign id -> gate version of a claim this process took past a silent gate


@dataclass(frozen=True, slots=True)
class Claimed:
    """A place in a campaign; `position` is 1-based in the order of arrival."""

    issuance_id: int
    coupon_id: int
    position: int


def claim_coupon(*, user_id: int, campaign_id: int, key: Key | None, now: datetime) -> Claimed:
    """
    Take a place in a campaign: at the gate, or under the campaign's row lock while Redis is away.

    Transaction: none on the usual path; with a key one before and one after the gate; one while Redis is away.
    Locks: the idempotency key; Campaign while Redis is away or the gate is rebuilt.
    Repeats: the same key returns the first answer; without one the second claim is refused.
    Raises: CouponNotFound, CouponSoldOut, CouponAlreadyIssued, CouponNotOpen, CouponClosed, Busy,
        IdempotencyKeyReused, IdempotencyKeyInFlight.
    Source: API.md "Coupons"; DESIGN.md "The coupon gate".
    """
    if key is None:
        return _claim(user_id=user_id, campaign_id=campaign_id, now=now)
    with db.transaction("coupons.begin_claim", [user_id]):
        begun = idempotency.begin(key, Claimed, now=now)
    slot = begun.slot
    if slot.fresh:
        claim = _claim_again if begun.resumed else _claim
        try:
            slot.finish(claim(user_id=user_id, campaign_id=campaign_id, now=now))
        except (Refused, NotFound) as refusal:
            slot.refuse(refusal)
        except Exception:
            with db.transaction("coupons.suspend_claim", [user_id]):
                idempotency.suspend(key)
            raise
        with db.transaction("coupons.answer_claim", [user_id]):
            idempotency.remember(key, slot, now=now)
    return slot.answer()


def _claim_again(*, user_id: int, campaign_id: int, now: datetime) -> Claimed:
    """Claim after an attempt that ended without an answer: one that was let in finds its own place."""
    try:
        return _claim(user_id=user_id, campaign_id=campaign_id, now=now)
    except CouponAlreadyIssued as refusal:
        position = queries.find_position(refusal.issuance_id)  # what took the row lock's way no gate need know
        if position is None and (place := gate.find_places([campaign_id], user_id).get(campaign_id)):
            position = place[0]
        if position is None:
            raise
        return Claimed(issuance_id=refusal.issuance_id, coupon_id=campaign_id, position=position)


def _claim(*, user_id: int, campaign_id: int, now: datetime) -> Claimed:
    try:
        answer = _ask_gate(user_id=user_id, campaign_id=campaign_id, now=now)
    except DependencyUnavailable:
        return _claim_under_row_lock(user_id=user_id, campaign_id=campaign_id, now=now)
    if answer.outcome == "placed":
        failpoints.hit("coupons.claim_coupon.placed", [user_id])
        wakeups.wake(RECORD_CLAIMS)
        return Claimed(issuance_id=answer.issuance_id, coupon_id=campaign_id, position=answer.position)
    if answer.outcome == "already":
        raise CouponAlreadyIssued(issuance_id=answer.issuance_id)
    if answer.opens_at is not None:
        raise CouponNotOpen(opens_at=answer.opens_at)
    raise {"closed": CouponClosed, "sold_out": CouponSoldOut}.get(answer.outcome, Busy)


def _ask_gate(*, user_id: int, campaign_id: int, now: datetime) -> gate.Answer:
    """Ask the gate; rebuild it first when it does not stand or is known to be outdated."""
    if campaign_id in _outdated:
        gate.demolish_if_older(campaign_id, _outdated[campaign_id])
        _outdated.pop(campaign_id, None)
    answer = gate.claim(campaign_id=campaign_id, user_id=user_id)
    for _attempt in range(REBUILD_ATTEMPTS):
        if answer.outcome != "rebuild":
            break
        if not REBUILDING.acquire(timeout=REBUILD_WAIT_SECONDS):
            raise Overloaded
        try:
            _rebuild(campaign_id=campaign_id, now=now)
        finally:
            REBUILDING.release()
        answer = gate.claim(campaign_id=campaign_id, user_id=user_id)
    return answer


def _rebuild(*, campaign_id: int, now: datetime) -> None:
    """
    Build a campaign's gate from PostgreSQL, with the claims of the old one recorded first.

    With `save_campaign` the only place where Redis is called under a row lock: the lock keeps the row-lock path and the
    recorder from adding places between reading them and opening the gate. If the commit fails afterwards, the gate's
    version is nobody's, and the sweep demolishes it.
    """
    with db.transaction("coupons.rebuild_gate", [campaign_id]):
        campaign = operations.lock_campaign(campaign_id)
        if gate.is_open_at(campaign_id, campaign.gate_version):
            return  # somebody was faster
        # An outdated gate may still stand; a claim it took after the stream was read would be unknown to the new one.
        gate.demolish(campaign_id)
        claims = gate.list_claims(campaign_id=campaign_id)
        operations.record_places({campaign_id: campaign}, _places(claims), now=now)
        gate.build(
            campaign_id=campaign_id,
            version=operations.outdate_gate(campaign),
            epoch=operations.next_gate_epoch(),
            terms=gate.GateTerms(campaign.total_quantity, campaign.opens_at, campaign.closes_at),
            places=queries.list_places(campaign),
        )


def _claim_under_row_lock(*, user_id: int, campaign_id: int, now: datetime) -> Claimed:
    """Decide by the gate's rules under `select_for_update` on the campaign, a few at a time."""
    if not ROW_LOCK_CLAIMS.acquire(timeout=ROW_LOCK_WAIT_SECONDS):
        raise Overloaded
    try:
        with db.transaction("coupons.claim_under_row_lock", [user_id]):
            campaign = operations.lock_campaign(campaign_id)
            _check_may_claim(campaign, user_id)
            place = Place(campaign_id, user_id, operations.next_issuance_id())
            operations.record_places({campaign_id: campaign}, [place], now=now)
            _outdated[campaign_id] = operations.outdate_gate(campaign)
    finally:
        ROW_LOCK_CLAIMS.release()
    return Claimed(issuance_id=place.issuance_id, coupon_id=campaign_id, position=campaign.issued)


def _check_may_claim(campaign: Campaign, user_id: int) -> None:
    """Raise what claim.lua would answer, by the database's clock; it knows no users, but the row lock's way may ask."""
    if not db.rows("SELECT 1 FROM shop_user WHERE id = %s", [user_id]):
        raise InvalidToken
    held = Issuance.objects.filter(campaign=campaign, user_id=user_id).exclude(status=Status.REJECTED)
    if (issuance_id := held.values_list("pk", flat=True).first()) is not None:
        raise CouponAlreadyIssued(issuance_id=issuance_id)
    (database_now,) = db.rows("SELECT clock_timestamp()")[0]
    if database_now < campaign.opens_at:
        raise CouponNotOpen(opens_at=campaign.opens_at)
    if database_now >= campaign.closes_at:
        raise CouponClosed
    if campaign.issued >= campaign.total_quantity:
        raise CouponSoldOut


def record_claims(*, claim: pipeline.Claim, now: datetime) -> None:
    """
    Record the next claims of the gate in the order of arrival, then acknowledge them.

    Shapes: claim.limit 1..500; its items are issuance ids.
    Transaction: opens one; reads Redis before and acknowledges after it.  Locks: Campaign by id.
    Repeats: harmless; a user who holds the coupon is passed over.
    Raises: DependencyUnavailable.
    Source: DESIGN.md "The coupon gate".
    """
    claims = gate.list_claims(limit=claim.limit, skip=claim.skip)
    claim.taken.extend(item.issuance_id for item in claims)
    if not claims:
        return
    with db.transaction(RECORD_CLAIMS, claim.taken):
        campaigns = operations.lock_campaigns(item.campaign_id for item in claims)
        known = [item for item in claims if item.campaign_id in campaigns]
        operations.record_places(campaigns, _places(known), now=now)
    gate.acknowledge(claims)
    failpoints.hit("coupons.record_claims.acknowledged", claim.taken)
    gate.demolish_older({campaign_id: campaign.gate_version for campaign_id, campaign in campaigns.items()})


def _places(claims: Sequence[gate.Claim]) -> list[Place]:
    return [Place(item.campaign_id, item.user_id, item.issuance_id) for item in claims]


def first_unrecorded(*, skip: list[int]) -> int | None:
    """Return the claim that `record_claims` would take first. Transaction: none."""
    return next((item.issuance_id for item in gate.list_claims(limit=1, skip=skip)), None)


@admission.backlog(admission.Worth.CLAIM)
def oldest_unrecorded_seconds() -> float:
    """
    Return the age of the oldest claim that PostgreSQL does not know yet, but for those set aside.

    Transaction: none.  Raises: DependencyUnavailable.
    """
    parked = ParkedItem.objects.filter(stage=RECORD_CLAIMS).values_list("item_id", flat=True)
    oldest = next(iter(gate.list_claims(limit=1, skip=parked)), None)
    return gate.clock() - oldest.taken_at if oldest else 0.0


def check_gates(*, now: datetime) -> int:
    """
    Demolish gates that do not know all places, so that the next claim rebuilds them; return how many there were.

    Transaction: none.  Repeats: harmless.  Raises: DependencyUnavailable.
    """
    versions = queries.list_gate_versions(since=now - gate.KEPT_AFTER_CLOSE)
    return sum(gate.demolish_unless_at(campaign_id, version) for campaign_id, version in versions)


def save_campaign(*, campaign_id: int | None, values: Mapping[str, Any]) -> int:
    """
    Make or change a campaign and outdate its gate; return its id.

    Shapes: values are fields of Campaign, without `issued` and `gate_version`.
    Transaction: opens one.  Locks: Campaign.
    Raises: CouponNotFound, TermsFrozen, QuantityTooLow, TermsContradict; DependencyUnavailable when terms change and
        Redis is away.
    """
    contradictions = db.constraint_errors(dict.fromkeys(CONSISTENT, TermsContradict))
    with contradictions, db.transaction():
        campaign = Campaign() if campaign_id is None else operations.lock_campaign(campaign_id)
        changed = [name for name in FROZEN_TERMS if name in values and getattr(campaign, name) != values[name]]
        if changed and campaign_id is not None and (campaign.issued or _has_waiting_claims(campaign_id)):
            raise TermsFrozen
        for name, value in values.items():
            setattr(campaign, name, value)
        if campaign.total_quantity < campaign.issued:
            raise QuantityTooLow
        campaign.save()
        _outdate(campaign)
    return campaign.pk


def _has_waiting_claims(campaign_id: int) -> bool:
    """Say whether somebody holds a place under the terms of now; nobody gets one until the campaign's lock is free."""
    gate.demolish(campaign_id)
    return bool(gate.list_claims(campaign_id=campaign_id))


def close_campaign(*, campaign_id: int, now: datetime, reason: str = "", operator_id: int | None = None) -> None:
    """
    End a campaign now.

    Transaction: opens one.  Locks: Campaign.  Repeats: harmless.  Raises: CouponNotFound, NotAllowed.
    """
    with db.transaction():
        campaign = operations.lock_campaign(campaign_id)
        if campaign.closes_at > now:
            campaign.opens_at = min(campaign.opens_at, now - timedelta(seconds=1))
            campaign.closes_at = now
            campaign.save()
            _outdate(campaign)
        if operator_id is not None:
            act = Act("coupons.close", "coupons.campaign", campaign_id, reason)
            trail.record(act, operator_id=operator_id, now=now)


def refresh_gate(*, campaign_id: int) -> None:
    """Have a campaign's gate rebuilt before the next claim. Transaction: opens one.  Locks: Campaign."""
    with db.transaction():
        _outdate(operations.lock_campaign(campaign_id))


def _outdate(campaign: Campaign) -> None:
    """Outdate the gate; the old one goes at once, or with the sweep if Redis is away just now."""
    version = operations.outdate_gate(campaign)
    db.run_after_commit(partial(gate.demolish_if_older, campaign.pk, version))
    db.run_after_commit(representations.outdate)


def expire_issuances(*, limit: int, now: datetime) -> int:
    """Mark coupons past their time. Transaction: opens one.  Locks: Issuance by id.  Repeats: harmless."""
    with db.transaction():
        return operations.expire(limit=limit, now=now)
