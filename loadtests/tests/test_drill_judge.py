"""The judge of the drills: a sound history passes, and each way to falsify one is named with its entry."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.drills import facts, history
from loadtests.drills.facts import Facts, LedgerLine, OrderFact, PlaceFact
from loadtests.drills.history import Attempt, Entry, Outcome
from loadtests.drills.judge import Allowance, judge

STRICT = Allowance()
MINA, JUN = 7, 8
CAMPAIGN = 3


def entry(number: int, intent: str, start: float, *, outcome: Outcome = Outcome.OK, code: str = "", **answer) -> Entry:
    """Return what a customer wanted at `start` and heard 0.1 s later."""
    kind, user = intent.split()[:2]
    return Entry(
        number=number,
        kind=kind,
        user=int(user),
        key=f"k{number}",
        intent=intent,
        start=start,
        end=start + 0.1,
        outcome=outcome,
        code=code,
        answer=answer,
    )


def line(transfer_id: int, amount: int, balance_after: int, *, kind: str = "charge") -> LedgerLine:
    return LedgerLine(transfer_id=transfer_id, user=MINA, kind=kind, amount=amount, balance_after=balance_after)


BOUGHT = facts.order_intent(MINA, [(5, 2)])
UNKNOWN = facts.order_intent(JUN, [(6, 1)])
CHARGE, CHARGE_UNKNOWN = facts.charge_intent(MINA, 1_000), facts.charge_intent(MINA, 1_001)
FIRST, SECOND = facts.claim_intent(MINA, CAMPAIGN), facts.claim_intent(JUN, CAMPAIGN)

ENTRIES = (
    entry(1, CHARGE, 1.0, transfer_id=11, amount=1_000),
    entry(2, f"balance {MINA}", 2.0, balance=6_000),
    entry(3, BOUGHT, 3.0, order_id=21, subtotal=400),
    entry(4, UNKNOWN, 3.5, outcome=Outcome.INFO, code="timeout"),
    entry(5, FIRST, 4.0, issuance_id=31, position=1),
    entry(6, SECOND, 5.0, issuance_id=32, position=2),
    entry(7, f"follow {MINA} 21", 5.0, order_id=21, status="coupon_applied"),
    entry(8, f"follow {MINA} 21", 6.0, order_id=21, status="paid"),
    entry(9, f"cancel {MINA} 21", 7.0, order_id=21, status="cancelled"),
    entry(10, facts.claim_intent(9, CAMPAIGN), 8.0, outcome=Outcome.FAIL, code="coupon_sold_out"),
    entry(11, FIRST, 8.5, outcome=Outcome.FAIL, code="coupon_already_issued"),
    entry(12, CHARGE_UNKNOWN, 9.0, outcome=Outcome.INFO, code="reset"),
    entry(13, f"balance {MINA}", 10.0, balance=7_001),
)
FOUND = Facts(
    orders=(
        OrderFact(
            order_id=21,
            user=MINA,
            intent=BOUGHT,
            status="cancelled",
            failure="",
            created_at=3.0,
            settled_at=6.0,
            refunds=1,
        ),
    ),
    places=(
        PlaceFact(issuance_id=31, user=MINA, campaign=CAMPAIGN, position=1, status="issued"),
        PlaceFact(issuance_id=32, user=JUN, campaign=CAMPAIGN, position=2, status="issued"),
    ),
    ledger=(
        line(11, 1_000, 6_000),
        line(12, -400, 5_600, kind="payment"),
        line(13, 400, 6_000, kind="refund"),
        line(14, 1_001, 7_001),
    ),
    totals={CAMPAIGN: 2},
)


def findings(entries: tuple[Entry, ...], found: Facts, allowed: Allowance = STRICT) -> list[tuple[str, str]]:
    return [(finding.key, str(finding.values["entry"])) for finding in judge(entries, found, allowed)]


def changed(number: int, **values: object) -> tuple[Entry, ...]:
    """Return the history with one entry changed."""
    return tuple(replace(item, **values) if item.number == number else item for item in ENTRIES)  # type: ignore[arg-type]


def without(number: int) -> tuple[Entry, ...]:
    return tuple(item for item in ENTRIES if item.number != number)


def test_a_sound_history_with_unknown_outcomes_passes() -> None:
    assert findings(ENTRIES, FOUND) == []
    arrived = OrderFact(
        order_id=22, user=JUN, intent=UNKNOWN, status="paid", failure="", created_at=3.6, settled_at=4.0
    )
    assert findings(ENTRIES, replace(FOUND, orders=(*FOUND.orders, arrived))) == []
    assert findings(without(13), replace(FOUND, ledger=FOUND.ledger[:-1])) == []


# --- drop, double, reorder, forge -----------------------------------------------------------------------------------

DROPPED: dict[str, tuple[Callable[[], tuple[tuple[Entry, ...], Facts]], list[tuple[str, str]]]] = {
    "a charge from the database": (
        lambda: (without(2), replace(FOUND, ledger=FOUND.ledger[1:])),
        [("lost", f"#1 {CHARGE}")],
    ),
    "an order from the database": (
        lambda: (ENTRIES, replace(FOUND, orders=())),
        [("lost", f"#3 {BOUGHT}"), ("lost", f"#9 cancel {MINA} 21")],
    ),
    "a coupon from the database": (
        lambda: (ENTRIES, replace(FOUND, places=FOUND.places[:1])),
        [("lost", f"#6 {SECOND}")],
    ),
    "a customer's charge from the history": (lambda: (without(1), FOUND), [("nobody_asked", CHARGE)]),
    "a customer's order from the history": (lambda: (without(3), FOUND), [("nobody_asked", BOUGHT)]),
}
DOUBLED: dict[str, tuple[Callable[[], tuple[tuple[Entry, ...], Facts]], list[tuple[str, str]]]] = {
    "a charge": (
        lambda: (ENTRIES, replace(FOUND, ledger=(*FOUND.ledger, line(15, 1_000, 8_001)))),
        [("doubled", f"#1 {CHARGE}")],
    ),
    "an order": (
        lambda: (ENTRIES, replace(FOUND, orders=(*FOUND.orders, replace(FOUND.orders[0], order_id=23, refunds=0)))),
        [("doubled", f"#3 {BOUGHT}"), ("nobody_asked", f"cancel {MINA} 23")],
    ),
    "a refund": (
        lambda: (ENTRIES, replace(FOUND, orders=(replace(FOUND.orders[0], refunds=2),))),
        [("doubled", f"#9 cancel {MINA} 21")],
    ),
    "an unknown charge": (
        lambda: (ENTRIES, replace(FOUND, ledger=(*FOUND.ledger, line(15, 1_001, 8_002)))),
        [("doubled", f"#12 {CHARGE_UNKNOWN}")],
    ),
}
REORDERED: dict[str, tuple[Callable[[], tuple[tuple[Entry, ...], Facts]], list[tuple[str, str]]]] = {
    "two claims": (
        lambda: (tuple(replace(it, start=3.0, end=3.1) if it.number == 6 else it for it in ENTRIES), FOUND),
        [("out_of_order", f"#5 {FIRST}")],
    ),
    "a balance before the charge that it shows": (
        lambda: (changed(2, start=0.0, end=0.1), FOUND),
        [("stale_balance", f"#2 balance {MINA}")],
    ),
    "a balance after the charge that it does not show": (
        lambda: (changed(13, answer={"balance": 5_000}), FOUND),
        [("stale_balance", f"#13 balance {MINA}")],
    ),
    "two states of an order": (
        lambda: (changed(8, start=4.0, end=4.1), FOUND),
        [("went_back", f"#7 follow {MINA} 21")],
    ),
    "a refusal before the places were gone": (
        lambda: (changed(10, start=3.0, end=3.1), FOUND),
        [("untrue_sold_out", f"#10 {facts.claim_intent(9, CAMPAIGN)}")],
    ),
}
FORGED: dict[str, tuple[Callable[[], tuple[tuple[Entry, ...], Facts]], list[tuple[str, str]]]] = {
    "the id of a transfer": (
        lambda: (changed(1, answer={"transfer_id": 99, "amount": 1_000}), FOUND),
        [("differs", f"#1 {CHARGE}")],
    ),
    "a position": (
        lambda: (changed(6, answer={"issuance_id": 32, "position": 1}), FOUND),
        [("differs", f"#6 {SECOND}")],
    ),
    "an acknowledgement": (
        lambda: (changed(4, outcome=Outcome.OK, answer={"order_id": 22}), FOUND),
        [("lost", f"#4 {UNKNOWN}")],
    ),
    "a refusal": (
        lambda: (changed(3, outcome=Outcome.FAIL, code="product_not_found", answer={}), FOUND),
        [("refused_but_done", f"#3 {BOUGHT}")],
    ),
    "a row nobody asked for": (
        lambda: (ENTRIES, replace(FOUND, ledger=(*FOUND.ledger, line(15, 5, 7_006)))),
        [("nobody_asked", facts.charge_intent(MINA, 5))],
    ),
    "a place beyond the next": (
        lambda: (ENTRIES, replace(FOUND, places=(FOUND.places[0], replace(FOUND.places[1], position=3)))),
        [("differs", f"#6 {SECOND}"), ("places_not_dense", f"campaign {CAMPAIGN}")],
    ),
    "an order's end": (
        lambda: (without(9), replace(FOUND, orders=(replace(FOUND.orders[0], status="pending", refunds=0),))),
        [("left_behind", "order 21")],
    ),
    "a failure": (
        lambda: (
            without(9),
            replace(FOUND, orders=(replace(FOUND.orders[0], status="failed", failure="out_of_stock", refunds=0),)),
        ),
        [("wrong_failure", "order 21")],
    ),
    "an order that is not shown": (
        lambda: (changed(8, outcome=Outcome.FAIL, code="order_not_found", answer={}), FOUND),
        [("order_unseen", f"#8 follow {MINA} 21")],
    ),
    "a refused cancellation of a paid order": (
        lambda: (
            changed(9, outcome=Outcome.FAIL, code="order_not_cancellable", answer={}),
            replace(FOUND, orders=(replace(FOUND.orders[0], status="paid", refunds=0),)),
        ),
        [("untrue_refusal", f"#9 cancel {MINA} 21")],
    ),
}
CONTROLS = {
    f"{how}: {what}": case
    for how, cases in {"drop": DROPPED, "double": DOUBLED, "reorder": REORDERED, "forge": FORGED}.items()
    for what, case in cases.items()
}


@pytest.mark.parametrize(("make", "expected"), list(CONTROLS.values()), ids=list(CONTROLS))
def test_a_falsified_history_is_named(
    make: Callable[[], tuple[tuple[Entry, ...], Facts]], expected: list[tuple[str, str]]
) -> None:
    entries, found = make()
    assert findings(entries, found) == expected


# --- what a fault may cost ------------------------------------------------------------------------------------------


def test_only_a_drill_that_allows_it_may_lose_a_place() -> None:
    gone = replace(FOUND, places=FOUND.places[:1])
    assert findings(ENTRIES, gone, Allowance(lost_places=True)) == []
    assert findings(ENTRIES, gone, Allowance(moved_places=True)) == [("lost", f"#6 {SECOND}")]
    no_order = replace(FOUND, orders=())
    assert ("lost", f"#3 {BOUGHT}") in findings(ENTRIES, no_order, Allowance(moved_places=True, lost_places=True))


def test_only_a_drill_that_allows_it_may_move_a_place() -> None:
    moved = replace(FOUND, places=(replace(FOUND.places[0], position=2), replace(FOUND.places[1], position=1)))
    assert findings(ENTRIES, moved, Allowance(moved_places=True)) == []
    assert findings(ENTRIES, moved) == [("differs", f"#5 {FIRST}"), ("differs", f"#6 {SECOND}")]


def test_a_history_is_written_and_read_back(tmp_path: Path) -> None:
    attempts = (
        Attempt(start=1.0, end=1.2, status=503, code="busy", retry_after="2"),
        Attempt(start=2, end=3, status=0),
    )
    entries = [replace(ENTRIES[0], attempts=attempts), ENTRIES[3]]
    history.write(entries, tmp_path / "history.jsonl")
    assert history.read(tmp_path / "history.jsonl") == entries
    assert [attempt.outcome for attempt in attempts] == [Outcome.INFO, Outcome.INFO]
