"""
What the customers of a drill will want, and when: drawn from the seed before the first request.

Same name, same seed, same schedule; what comes of it is the shop's doing. Half of the requests write, three times as
many as in the load tests: a drill is about writes.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loadtests.drills import facts
from loadtests.drills.history import WRITES

SHARES = {
    **{"list": 12, "detail": 11, "top": 3, "balance": 10, "follow": 12},
    **{"charge": 18, "order": 23, "claim": 7, "cancel": 4},
}
LARGEST_QUANTITY = 5
FIRST_AMOUNT = 1_000
KEYED = 0.85  # share of writes with an Idempotency-Key; only those may be repeated
PATIENT = 0.8  # share of keyed writes whose customer repeats until there is an answer
WITH_COUPON = 0.5  # share of orders that spend a coupon, if the customer has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who shops, and for what; the same schedule may be played by other ids."""

    users: range
    products: Sequence[int]
    campaigns: Sequence[int]
    tokens: Mapping[int, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """
    One thing a customer will want at second `at`.

    `is_patient`: repeats with the same key until there is an answer. `luck` (0..1) decides what only the moment
    can offer: which of the customer's orders is followed or cancelled, how long a repetition waits.
    """

    number: int
    at: float
    kind: str
    user: int
    intent: str
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    is_patient: bool = False
    with_coupon: bool = False
    luck: float = 0.5


def plan(name: str, *, seed: int, cast: Cast, rate: float, seconds: float) -> list[Op]:
    """Return the schedule of a drill, in the order of time."""
    dice = random.Random(f"{name}/{seed}")  # noqa: S311 - repeatable on purpose
    ordered: set[str] = set()
    ops = []
    for number in range(int(rate * seconds)):
        kind = dice.choices(list(SHARES), list(SHARES.values()))[0]
        op = Op(
            number=number,
            at=round((number + dice.random()) / rate, 4),
            kind=kind,
            user=dice.choice(cast.users),
            intent="",
            luck=dice.random(),
        )
        op = _filled(op, dice, cast, ordered)
        ops.append(_keyed(op, dice, f"{name}-{seed}-{number}") if kind in WRITES else op)
    return ops


def _filled(op: Op, dice: random.Random, cast: Cast, ordered: set[str]) -> Op:
    if op.kind == "charge":
        amount = FIRST_AMOUNT + op.number  # every amount once: the ledger's row tells whose request it was
        return replace(op, intent=facts.charge_intent(op.user, amount), body={"amount": amount})
    if op.kind == "order":
        return _order(op, dice, cast, ordered)
    if op.kind == "claim":
        campaign = dice.choice(cast.campaigns)
        return replace(op, intent=facts.claim_intent(op.user, campaign), body={"coupon_id": campaign})
    if op.kind == "detail":
        return replace(op, intent=f"detail {dice.choice(cast.products)}")
    return replace(op, intent=f"{op.kind} {op.user}")


def _order(op: Op, dice: random.Random, cast: Cast, ordered: set[str]) -> Op:
    """Draw an order this customer has not placed yet, so that the database's row tells whose request it was."""
    while True:
        products = dice.sample(list(cast.products), dice.choice((1, 1, 2)))
        items = [(product, dice.randint(1, LARGEST_QUANTITY)) for product in products]
        intent = facts.order_intent(op.user, items)
        if intent not in ordered:
            break
    ordered.add(intent)
    lines = [{"product_id": product, "quantity": quantity} for product, quantity in items]
    return replace(op, intent=intent, body={"items": lines}, with_coupon=dice.random() < WITH_COUPON)


def _keyed(op: Op, dice: random.Random, key: str) -> Op:
    if dice.random() >= KEYED:
        return op
    return replace(op, key=key, is_patient=dice.random() < PATIENT)


def without_writes(ops: Sequence[Op], *, start: float, end: float) -> list[Op]:
    """Return the schedule with only reads between two moments: nothing but the shop's own clock moves orders then."""
    return [op for op in ops if op.kind not in WRITES or not start <= op.at < end]
