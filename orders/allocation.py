"""Who gets what there is: first come, first served, decided in memory; pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orders.errors import INSUFFICIENT_BALANCE, OUT_OF_STOCK, PRODUCT_UNAVAILABLE


class WantedLine(NamedTuple):
    """Pieces of one product that an order wants."""

    product_id: int
    quantity: int
    amount: int


class Claimed(NamedTuple):
    """
    An order as a stage has claimed it; money in minor units. `created_at` is read of orders with a coupon only.

    A tuple, like all rows that a stage makes by the hundred: a frozen dataclass takes four times as long to make.
    """

    order_id: int
    user_id: int
    subtotal: int
    total: int
    issuance_id: int | None
    status: str
    refusal: str
    created_at: datetime | None
    lines: tuple[WantedLine, ...] = ()


@dataclass(slots=True)
class Decision:
    """Which orders go on, and which are refused with which failure code."""

    granted: list[Claimed] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def allocate_stock(orders: Sequence[Claimed], available: Mapping[int, int]) -> Decision:
    """
    Give each order in turn all of its lines or nothing.

    Shapes: orders in acceptance order; available holds the pieces of every product that is still on offer.
    An order that does not fit takes nothing, so a later, smaller one may still fit.
    """
    left, decision = dict(available), Decision()
    for order in orders:
        if any(line.product_id not in left for line in order.lines):
            decision.refused[order.order_id] = PRODUCT_UNAVAILABLE
        elif any(left[line.product_id] < line.quantity for line in order.lines):
            decision.refused[order.order_id] = OUT_OF_STOCK
        else:
            for line in order.lines:
                left[line.product_id] -= line.quantity
            decision.granted.append(order)
    return decision


def split_by_coupon(orders: Sequence[Claimed], queuing: Collection[int]) -> tuple[list[Claimed], list[Claimed]]:
    """
    Split orders into those with nothing to redeem, and the rest.

    Shapes: orders in acceptance order; queuing are the users who have an order waiting at redemption.
    Nobody's order passes an earlier one of the same user that has a coupon to redeem: the two share a wallet.
    """
    waiting = set(queuing)
    plain: list[Claimed] = []
    rest: list[Claimed] = []
    for order in orders:
        if order.issuance_id is not None:
            waiting.add(order.user_id)
        (rest if order.user_id in waiting else plain).append(order)
    return plain, rest


def allocate_funds(orders: Sequence[Claimed], balances: Mapping[int, int]) -> tuple[Decision, dict[int, int]]:
    """
    Pay each order in turn from its user's balance; also return the balance after each granted order.

    Shapes: orders in acceptance order; balances are user id -> minor units; a user without a wallet has nothing.
    """
    left, decision, after = dict(balances), Decision(), {}
    for order in orders:
        balance = left.get(order.user_id, 0)
        if balance < order.total:
            decision.refused[order.order_id] = INSUFFICIENT_BALANCE
        else:
            left[order.user_id] = after[order.order_id] = balance - order.total
            decision.granted.append(order)
    return decision, after
