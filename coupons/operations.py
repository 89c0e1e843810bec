"""Changes of campaigns and issuances. Each requires a transaction; the flow that calls opens it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from coupons.discounts import Terms
from coupons.errors import CouponNotFound
from coupons.models import Campaign, Issuance
from coupons.states import Status
from shop import db


class Place(NamedTuple):
    """Who gets a coupon of which campaign, under which id."""

    campaign_id: int
    user_id: int
    issuance_id: int


@dataclass(frozen=True, slots=True)
class LockedIssuance:
    """An issuance row this transaction has locked, with its campaign's (frozen) terms."""

    issuance_id: int
    user_id: int
    status: str
    expires_at: datetime
    terms: Terms

    def is_usable(self, *, user_id: int, now: datetime) -> bool:
        """Say whether this user may spend it now."""
        return self.user_id == user_id and self.status == Status.ISSUED and now < self.expires_at


@db.transaction_required
def lock_campaigns(campaign_ids: Iterable[int]) -> dict[int, Campaign]:
    """Lock campaigns, in key order. Transaction: requires one.  Locks: Campaign by id."""
    rows = Campaign.objects.filter(pk__in=set(campaign_ids)).order_by("pk").select_for_update(no_key=True)
    return {campaign.pk: campaign for campaign in rows}


@db.transaction_required
def lock_campaign(campaign_id: int) -> Campaign:
    """Lock one campaign. Transaction: requires one.  Locks: Campaign.  Raises: CouponNotFound."""
    campaign = lock_campaigns([campaign_id]).get(campaign_id)
    if campaign is None:
        raise CouponNotFound
    return campaign


@db.transaction_required
def outdate_gate(campaign: Campaign) -> int:
    """Give a locked campaign a new gate version, which outdates every gate at the commit. Transaction: requires one."""
    campaign.gate_version = int(db.rows("SELECT nextval('coupons_gate_version')")[0][0])
    campaign.save(update_fields=["gate_version"])
    return campaign.gate_version


@db.transaction_required
def next_gate_epoch() -> int:
    """Return the number space for the issuance ids of a gate about to be built. Transaction: requires one."""
    return int(db.rows("SELECT nextval('coupons_gate_epoch')")[0][0])


@db.transaction_required
def record_places(campaigns: Mapping[int, Campaign], places: Sequence[Place], *, now: datetime) -> int:
    """
    Issue locked campaigns' coupons in the order given while places last, reject the rest; return how many got one.

    Positions follow on from the last one whatever the gate promised, so they stay 1..n without a gap even when Redis
    lost its tail (invariant C1). In normal operation both are the same.
    Shapes: campaigns by id, with the new `issued` afterwards; as many statements for one campaign as for all.
    Transaction: requires one, which has locked the campaigns.
    Repeats: a user who has a coupon already is passed over, and so is an id that is known: a claim that was rejected,
        its acknowledgement lost, stays rejected even if there is room by now. So is a user who has gone since: the
        foreign key would refuse the whole batch, each time anew.
    """
    given: list[tuple[Place, int]] = []  # with its position; 0: rejected
    fresh = _without_holders(_without_known(places))  # in this order: a known id does not stand for its user's next one
    users = _existing_users(fresh)
    for campaign_id in {place.campaign_id for place in fresh if place.user_id not in users}:
        outdate_gate(campaigns[campaign_id])  # which counts a place that nobody has
    for place in fresh:
        if place.user_id not in users:
            continue
        campaign = campaigns[place.campaign_id]
        has_room = campaign.issued < campaign.total_quantity
        campaign.issued += has_room
        given.append((place, campaign.issued if has_room else 0))
    _insert(given, now=now)
    granted_in = {place.campaign_id for place, position in given if position}
    _set_issued({campaign_id: campaigns[campaign_id].issued for campaign_id in granted_in})
    return sum(position > 0 for _place, position in given)


def _without_holders(places: Sequence[Place]) -> list[Place]:
    """Return the first place of each user in each campaign of which they hold no coupon."""
    rows = db.rows(
        """
        SELECT campaign_id, user_id FROM coupons_issuance
        JOIN unnest(%s::bigint[], %s::bigint[]) AS claim (campaign_id, user_id) USING (campaign_id, user_id)
        WHERE status <> 'rejected'
        """,
        [db.array(place.campaign_id for place in places), db.array(place.user_id for place in places)],
    )
    taken = set(rows)  # grows by those who get in here
    fresh = []
    for place in places:
        if (who := (place.campaign_id, place.user_id)) not in taken:
            taken.add(who)
            fresh.append(place)
    return fresh


def _existing_users(places: Sequence[Place]) -> set[int]:
    """Return the users of these places who exist."""
    if not places:
        return set()
    rows = db.rows(
        "SELECT id FROM shop_user WHERE id = ANY(%s::bigint[])", [db.array(place.user_id for place in places)]
    )
    return {user_id for (user_id,) in rows}


def _without_known(places: Sequence[Place]) -> list[Place]:
    """Return the places whose ids nobody has."""
    ids = [place.issuance_id for place in places]
    known = set(Issuance.objects.filter(pk__any=ids).values_list("pk", flat=True))
    return [place for place in places if place.issuance_id not in known]


def _insert(given: Sequence[tuple[Place, int]], *, now: datetime) -> None:
    if not given:
        return
    db.rows(
        """
        INSERT INTO coupons_issuance (id, campaign_id, user_id, position, status, issued_at, expires_at)
        SELECT given.id, campaign.id, given.user_id, nullif(given.position, 0),
               CASE given.position WHEN 0 THEN 'rejected' ELSE 'issued' END, %(now)s,
               %(now)s + make_interval(days => campaign.valid_days)
        FROM unnest(%(ids)s::bigint[], %(campaigns)s::bigint[], %(users)s::bigint[], %(positions)s::int[])
             AS given (id, campaign_id, user_id, position)
        JOIN coupons_campaign AS campaign ON campaign.id = given.campaign_id
        """,
        {
            "now": now,
            "ids": db.array(place.issuance_id for place, _position in given),
            "campaigns": db.array(place.campaign_id for place, _position in given),
            "users": db.array(place.user_id for place, _position in given),
            "positions": db.array(position for _place, position in given),
        },
    )


def _set_issued(issued: Mapping[int, int]) -> None:
    if issued:
        db.rows(
            """
            UPDATE coupons_campaign SET issued = given.issued
            FROM unnest(%s::bigint[], %s::int[]) AS given (id, issued) WHERE coupons_campaign.id = given.id
            """,
            [db.array(issued), db.array(issued.values())],
        )


@db.transaction_required
def next_issuance_id() -> int:
    """
    Return an id for an issuance that does not come from the gate (below 2^32, see coupons 0002).

    Transaction: requires one.
    """
    return int(db.rows("SELECT nextval(pg_get_serial_sequence('coupons_issuance', 'id'))")[0][0])


@db.transaction_required
def lock_issuances(issuance_ids: Iterable[int]) -> dict[int, LockedIssuance]:
    """Lock issuances, in key order. Transaction: requires one.  Locks: Issuance by id."""
    ids = set(issuance_ids)
    if not ids:
        return {}
    terms = [f"campaign__{name}" for name in Terms.__dataclass_fields__]
    rows = (
        Issuance.objects.filter(pk__any=ids)
        .order_by("pk")
        .select_for_update(of=("self",), no_key=True)
        .values_list("pk", "user_id", "status", "expires_at", *terms)
    )
    return {row[0]: LockedIssuance(row[0], row[1], row[2], row[3], Terms(*row[4:])) for row in rows}


@db.transaction_required
def redeem(uses: Sequence[tuple[int, int]], *, now: datetime) -> None:
    """
    Spend locked, usable issuances. Shapes: uses are (issuance id, order id).

    Transaction: requires one, which has locked the issuances and decided that they are usable.
    """
    if not uses:
        return
    _advance(uses, source=Status.ISSUED, to=Status.USED, used_at="%(now)s", order_id="given.order_id", now=now)


@db.transaction_required
def give_back(uses: Sequence[tuple[int, int]], *, now: datetime) -> None:
    """
    Return issuances that failed or cancelled orders had spent. Shapes: uses are (issuance id, order id).

    Transaction: requires one.  Locks: Issuance by id.
    """
    if not uses:
        return
    lock_issuances(issuance_id for issuance_id, _order_id in uses)
    _advance(uses, source=Status.USED, to=Status.ISSUED, used_at="NULL", order_id="NULL", now=now)


def _advance(
    uses: Sequence[tuple[int, int]], *, source: Status, to: Status, used_at: str, order_id: str, now: datetime
) -> None:
    """Walk one edge for many issuances; one that is not where it should be is an error, not a silence."""
    moved = db.rows(
        f"""
        UPDATE coupons_issuance SET status = %(to)s, used_at = {used_at}, order_id = {order_id}
        FROM unnest(%(ids)s::bigint[], %(orders)s::bigint[]) AS given (id, order_id)
        WHERE coupons_issuance.id = given.id AND status = %(source)s
        AND (%(source)s = 'issued' OR coupons_issuance.order_id = given.order_id)
        RETURNING coupons_issuance.id
        """,  # noqa: S608 - only the literals of redeem and give_back are put in
        {
            "to": to.value,
            "source": source.value,
            "now": now,
            "ids": db.array(issuance_id for issuance_id, _order_id in uses),
            "orders": db.array(order_id for _issuance_id, order_id in uses),
        },
    )
    if len(moved) != len(uses):
        raise RuntimeError(f"{len(uses) - len(moved)} of {len(uses)} issuances were not {source}")


@db.transaction_required
def expire(*, limit: int, now: datetime) -> int:
    """Mark issued coupons past their time; return how many. Transaction: requires one.  Locks: Issuance by id."""
    due = (
        Issuance.objects.filter(status=Status.ISSUED, expires_at__lte=now)
        .order_by("pk")
        .select_for_update(skip_locked=True, no_key=True)
        .values_list("pk", flat=True)[:limit]
    )
    ids = list(due)
    return len(
        db.rows(
            "UPDATE coupons_issuance SET status = 'expired' WHERE id = ANY(%s::bigint[]) RETURNING id", [db.array(ids)]
        )
    )
