"""
Compares what customers were told with what PostgreSQL holds: acknowledged ⊆ database ⊆ acknowledged ∪ unknown.

Every finding names the entry or the row. `Allowance` is what a fault may cost by the shop's own promises; nearly
every drill allows nothing. Source: FAULTS.md sections 2 and 8.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtests.drills import facts
from loadtests.drills.facts import Facts, LedgerLine
from loadtests.drills.history import Entry, Outcome
from loadtests.results import Finding

ALREADY, SOLD_OUT, NOT_CANCELLABLE = "coupon_already_issued", "coupon_sold_out", "order_not_cancellable"
PROGRESS = ("pending", "stock_reserved", "coupon_applied", "paid", "cancelled")
SETTLED = ("paid", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """
    What a drill may cost. `moved_places`: Redis was away, so PostgreSQL may have numbered the places anew.
    `lost_places`: Redis itself lost its newest entries, so a place that was not issued yet may be gone.
    """

    moved_places: bool = False
    lost_places: bool = False


def judge(entries: Sequence[Entry], found: Facts, allowed: Allowance) -> list[Finding]:
    """Return everything that is wrong, nothing when the history is sound."""
    return [
        *_inclusion(entries, found, allowed),
        *_own_balance(entries, found.ledger),
        *_own_orders(entries),
        *_places(entries, found, allowed),
        *_refusals(entries, found),
        *_ends(found, allowed),
    ]


def _finding(key: str, entry: str, **values: object) -> Finding:
    return Finding(key=key, values={"entry": entry, **values})


# --- acknowledged, in the database, unknown -------------------------------------------------------------------------


def _effects(found: Facts) -> dict[str, list[dict[str, object]]]:
    """Return every effect in the database, intent -> its rows as the customer would have been told."""
    rows: dict[str, list[dict[str, object]]] = defaultdict(list)
    for intent, transfer_id in found.charges():
        rows[intent].append({"transfer_id": transfer_id})
    for order in found.orders:
        rows[order.intent].append({"order_id": order.order_id})
        times = max(order.refunds, int(order.status == "cancelled"))
        rows[facts.cancel_intent(order.user, order.order_id)] += [{"order_id": order.order_id}] * times
    for place in found.places:
        if place.status != "rejected":
            rows[place.intent].append({"issuance_id": place.issuance_id, "position": place.position})
    return rows


def _inclusion(entries: Sequence[Entry], found: Facts, allowed: Allowance) -> Iterator[Finding]:
    wanted: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind in ("charge", "order", "claim", "cancel"):
            wanted[entry.intent].append(entry)
    effects = _effects(found)
    for intent, asked in wanted.items():
        yield from _compared(asked, effects.get(intent, []), allowed)
    for intent, rows in effects.items():
        if rows and intent not in wanted:
            yield _finding("nobody_asked", intent, rows=len(rows))


def _compared(asked: list[Entry], rows: list[dict[str, object]], allowed: Allowance) -> Iterator[Finding]:
    """Compare all entries that wanted one effect with the rows that hold it."""
    done = [entry for entry in asked if entry.outcome is Outcome.OK or entry.code == ALREADY]
    if not rows and done and not (done[0].kind == "claim" and allowed.lost_places):
        yield _finding("lost", done[0].name)
    if len(rows) > 1:
        yield _finding("doubled", asked[0].name, rows=len(rows))
    if rows and all(entry.outcome is Outcome.FAIL and entry.code != ALREADY for entry in asked):
        yield _finding("refused_but_done", asked[0].name, code=asked[0].code)
    yield from _differing([entry for entry in asked if entry.outcome is Outcome.OK], rows, allowed)


def _differing(done: list[Entry], rows: list[dict[str, object]], allowed: Allowance) -> Iterator[Finding]:
    for entry in done:
        for name, told in entry.answer.items():
            stored = {row[name] for row in rows if name in row}
            may_differ = entry.kind == "claim" and (allowed.moved_places or allowed.lost_places)
            if stored and told not in stored and not may_differ:
                yield _finding("differs", entry.name, name=name, told=told, stored=min(map(str, stored)))


# --- own reads after own writes -------------------------------------------------------------------------------------


def _own_balance(entries: Sequence[Entry], ledger: Sequence[LedgerLine]) -> Iterator[Finding]:
    """A balance must be one the ledger had, after every charge acknowledged before and before any begun later."""
    lines: dict[int, list[LedgerLine]] = defaultdict(list)
    for line in ledger:
        lines[line.user].append(line)
    charges: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind == "charge":
            charges[entry.user].append(entry)
    for read in entries:
        if read.kind == "balance" and read.outcome is Outcome.OK and (own := lines[read.user]):
            first, last = _window(read, own, charges[read.user])
            possible = [own[0].balance_after - own[0].amount, *(line.balance_after for line in own)][first : last + 1]
            if read.answer["balance"] not in possible:
                yield _finding("stale_balance", read.name, told=read.answer["balance"])


def _window(read: Entry, own: list[LedgerLine], charges: list[Entry]) -> tuple[int, int]:
    """Return how many lines of the ledger the read must have seen at least, and may have seen at most."""
    places: dict[str, int] = {}
    for number, line in enumerate(own, start=1):
        places.setdefault(facts.charge_intent(line.user, line.amount), number)
    known = [(charge, places[charge.intent]) for charge in charges if charge.intent in places]
    first = max((at for charge, at in known if charge.outcome is Outcome.OK and charge.end < read.start), default=0)
    later = [at for charge, at in known if charge.start > read.end]
    return first, min(later) - 1 if later else len(own)


def _own_orders(entries: Sequence[Entry]) -> Iterator[Finding]:
    """An order that was accepted is there, and never goes back to an earlier state."""
    seen: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda item: item.start):
        if entry.kind != "follow" or not entry.intent.startswith("follow"):
            continue
        if entry.outcome is Outcome.FAIL:
            yield _finding("order_unseen", entry.name, code=entry.code)
        elif entry.outcome is Outcome.OK:
            earlier = [old for old in seen[entry.intent] if old.end < entry.start]
            if any(_rank(old) > _rank(entry) for old in earlier):
                yield _finding("went_back", entry.name, told=entry.answer["status"])
            seen[entry.intent].append(entry)


def _rank(read: Entry) -> int:
    status = str(read.answer["status"])
    return PROGRESS.index(status) if status in PROGRESS else len(PROGRESS)


# --- places of a campaign -------------------------------------------------------------------------------------------


def _places(entries: Sequence[Entry], found: Facts, allowed: Allowance) -> Iterator[Finding]:
    """Places are 1..n, each once, and who was answered before another one asked stands in front of them."""
    positions: dict[int, list[int]] = defaultdict(list)
    for place in found.places:
        if place.position is not None:
            positions[place.campaign].append(place.position)
    for campaign, taken in positions.items():
        if sorted(taken) != list(range(1, len(taken) + 1)):
            yield _finding("places_not_dense", f"campaign {campaign}", taken=len(taken), highest=max(taken))
    if not (allowed.moved_places or allowed.lost_places):
        for claims in _by_campaign(entries).values():
            yield from _overtaken(claims)


def _by_campaign(entries: Iterable[Entry]) -> Mapping[str, list[Entry]]:
    claims: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind == "claim":
            claims[entry.intent.split()[2]].append(entry)
    return claims


def _overtaken(claims: list[Entry]) -> Iterator[Finding]:
    """Find claims that were acknowledged before another one began and yet stand behind it."""
    done = sorted((claim for claim in claims if claim.outcome is Outcome.OK), key=lambda claim: claim.start)
    for claim in done:
        for earlier in done:
            if earlier.end < claim.start and earlier.answer["position"] > claim.answer["position"]:
                yield _finding("out_of_order", claim.name, other=earlier.name)
                break


# --- refusals and ends ----------------------------------------------------------------------------------------------


def _refusals(entries: Sequence[Entry], found: Facts) -> Iterator[Finding]:
    """ "Sold out" and "cannot be cancelled" must have been true at some moment of the call."""
    claims = _by_campaign(entries)
    orders = {facts.cancel_intent(order.user, order.order_id): order for order in found.orders}
    for entry in entries:
        if entry.code == SOLD_OUT and entry.outcome is Outcome.FAIL:
            campaign = entry.intent.split()[2]
            takers = {
                other.intent
                for other in claims[campaign]
                if other.start < entry.end and (other.outcome is not Outcome.FAIL or other.code == ALREADY)
            }
            if len(takers) < found.totals.get(int(campaign), 0):
                yield _finding("untrue_sold_out", entry.name, takers=len(takers), places=found.totals[int(campaign)])
        elif entry.code == NOT_CANCELLABLE and entry.outcome is Outcome.FAIL:
            order = orders.get(entry.intent)
            was_paid = order is not None and order.status == "paid" and order.settled_at is not None
            if was_paid and order is not None and (order.settled_at or 0.0) < entry.start:
                yield _finding("untrue_refusal", entry.name, code=entry.code)


def _ends(found: Facts, allowed: Allowance) -> Iterator[Finding]:
    """Every order is settled; money and stock suffice for all, so none may have failed for want of them."""
    for order in found.orders:
        name = f"order {order.order_id}"
        if order.status not in SETTLED:
            yield _finding("left_behind", name, status=order.status)
        elif order.status == "failed" and not (order.failure == "issuance_not_usable" and allowed.lost_places):
            yield _finding("wrong_failure", name, code=order.failure)
