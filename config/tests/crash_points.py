"""
Every point at which the crash tests end a flow, in the order in which the flow passes them, and how it goes on then.

The tests compare it with the code (no point may be missing on either side) and with what really happens;
docs/crash-points.md is made from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is ended: it decides who tries again."""

    REQUEST = "request"  # the client, with the same key
    CLAIM = "claim"  # likewise; its work is done outside a transaction
    STAGE = "stage"  # the next wake-up, at the latest by the sweep


class Outcome(StrEnum):
    """How a flow goes on after its end at a point."""

    UNDONE = "undone"  # nothing has happened; who tries again does the work
    DONE = "done"  # it is committed; a retry gets the first answer, a batch is not claimed again
    IN_FLIGHT = "in flight"  # the key is taken for ten seconds; a retry after them finishes the work
    RESUMED = "resumed"  # a retry finishes the work at once
    REPEATED = "repeated"  # it is committed, done once more, and the second time changes nothing


@dataclass(frozen=True, slots=True)
class Point:
    """One point: `number` within its flow, and the outcomes when the process is killed there and when it raises."""

    flow: "Flow"
    number: int
    step: str
    killed: Outcome
    raised: Outcome

    @property
    def name(self) -> str:
        return f"{self.flow.name}.{self.step}"

    def outcome(self, action: str) -> Outcome:
        return {"kill": self.killed, "raise": self.raised}[action]


@dataclass(frozen=True, slots=True)
class Flow:
    """A transaction with a name, or what lies between two, and its steps."""

    name: str
    kind: Kind
    steps: tuple[str, ...]

    def points(self) -> Iterator[Point]:
        for number, step in enumerate(self.steps, start=1):
            killed, raised = outcomes(self, step)
            yield Point(self, number, step, killed, raised)


def transaction(name: str, kind: Kind, *operations: str) -> Flow:
    return Flow(name, kind, ("begun", *operations, "before_commit", "after_commit", "announced"))


FLOWS = (
    transaction("orders.place_order", Kind.REQUEST, "insert_order", "remember"),
    transaction("orders.reserve_stock", Kind.STAGE, "take_stock", "advance", "fail"),
    transaction("orders.redeem_coupons", Kind.STAGE, "redeem", "apply_discounts", "advance", "refuse"),
    transaction("orders.take_payments", Kind.STAGE, "record_payments", "advance", "refuse", "record_sales"),
    transaction("orders.release", Kind.STAGE, "give_back", "give_stock_back", "fail"),
    transaction(
        "orders.cancel_order",
        Kind.REQUEST,
        *("record_refunds", "give_back", "give_stock_back", "withdraw_sales", "advance", "remember"),
    ),
    transaction("balance.charge_balance", Kind.REQUEST, "charge", "record", "remember"),
    transaction("coupons.begin_claim", Kind.CLAIM),
    transaction("coupons.rebuild_gate", Kind.CLAIM, "record_places", "outdate_gate", "next_gate_epoch"),
    Flow("coupons.claim_coupon", Kind.CLAIM, ("placed",)),
    transaction("coupons.claim_under_row_lock", Kind.CLAIM, "next_issuance_id", "record_places", "outdate_gate"),
    transaction("coupons.suspend_claim", Kind.CLAIM),
    transaction("coupons.answer_claim", Kind.CLAIM, "remember"),
    Flow(
        "coupons.record_claims",
        Kind.STAGE,
        ("begun", "record_places", "before_commit", "after_commit", "announced", "acknowledged"),
    ),
)
IN_THE_ADMIN_ONLY = {("orders.cancel_order", "record")}
"""Passed by operators, whose form has no idempotency key; the customers' way through the same transaction is tested."""
COMMITTED = ("after_commit", "announced", "acknowledged")


def outcomes(flow: Flow, step: str) -> tuple[Outcome, Outcome]:
    """Return how it goes on when the process is killed at a step, and when it raises there."""
    is_committed = step in COMMITTED
    if flow.kind is Kind.CLAIM:
        return _outcomes_of_claim(flow.name.removeprefix("coupons."), is_committed=is_committed)
    if flow.name == "coupons.record_claims" and step in ("after_commit", "announced"):
        return Outcome.REPEATED, Outcome.REPEATED
    outcome = Outcome.DONE if is_committed else Outcome.UNDONE
    return outcome, outcome


def _outcomes_of_claim(name: str, *, is_committed: bool) -> tuple[Outcome, Outcome]:
    if name == "begin_claim" and not is_committed:
        return Outcome.UNDONE, Outcome.UNDONE
    if name == "answer_claim" and is_committed:
        return Outcome.DONE, Outcome.DONE
    if name == "suspend_claim" and is_committed:
        return Outcome.RESUMED, Outcome.RESUMED
    # Between begin and answer an exception is noted (`suspend`), a dead process is missed after ten seconds only.
    raised = Outcome.IN_FLIGHT if name in ("begin_claim", "answer_claim", "suspend_claim") else Outcome.RESUMED
    return Outcome.IN_FLIGHT, raised


POINTS = {point.name: point for flow in FLOWS for point in flow.points()}
