"""
The statements all strategies share: what an order leaves behind is the same rows, whoever locked what.

`WRITE` sets stock and balance to the values decided in memory, as an object-relational mapper does: without a lock
around reading and writing two orders overwrite each other.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

from loadtests.lab.answers import COUPON_USED, NO_MONEY, OUT_OF_STOCK, PAID
from loadtests.lab.market import Order

_ROWS = """
    WITH placed AS (
        INSERT INTO locklab.orders (number, user_id, coupon_id, subtotal, discount, total, state, refusal)
        VALUES (%(number)s, %(user)s, %(coupon)s, %(subtotal)s, %(discount)s, %(total)s,
                CASE WHEN %(paid)s THEN 'paid' ELSE 'failed' END, %(refusal)s)
        RETURNING id
    ), lines AS (
        INSERT INTO locklab.line (order_id, product_id, quantity, unit_price)
        SELECT placed.id, given.* FROM placed,
            unnest(%(products)s::int[], %(quantities)s::int[], %(prices)s::bigint[]) AS given
    ), moved AS (
        INSERT INTO locklab.movement (order_id, product_id, quantity)
        SELECT placed.id, given.* FROM placed, unnest(%(products)s::int[], %(quantities)s::int[]) AS given
        WHERE %(paid)s
    ), debited AS (
        INSERT INTO locklab.transfer (order_id, user_id, amount)
        SELECT placed.id, %(user)s, %(total)s FROM placed WHERE %(paid)s
    )
"""
RECORD = "".join((_ROWS, "SELECT id FROM placed"))
_CHANGES = """, shelves AS (
        UPDATE locklab.stock SET available = given.available
        FROM unnest(%(products)s::int[], %(left)s::int[]) AS given (product_id, available)
        WHERE stock.product_id = given.product_id AND %(paid)s
    ), purse AS (
        UPDATE locklab.wallet SET balance = %(balance)s WHERE user_id = %(user)s AND %(paid)s
    ), spent AS (
        UPDATE locklab.coupon SET used_by = placed.id FROM placed WHERE coupon_id = %(coupon)s::int AND %(paid)s
    )
    SELECT id FROM placed
"""
WRITE = _ROWS + _CHANGES
ACCEPT = """
    WITH wanted AS (
        SELECT product_id, given.quantity, stock.price
        FROM unnest(%(products)s::int[], %(quantities)s::int[]) AS given (product_id, quantity)
        JOIN locklab.stock USING (product_id)
    ), placed AS (
        INSERT INTO locklab.orders (number, user_id, coupon_id, subtotal, discount, total, state)
        SELECT %(number)s, %(user)s, %(coupon)s, sum(quantity * price), 0, sum(quantity * price), 'pending' FROM wanted
        RETURNING id, subtotal
    ), lines AS (
        INSERT INTO locklab.line (order_id, product_id, quantity, unit_price)
        SELECT placed.id, product_id, quantity, price FROM placed, wanted
    )
    SELECT id, subtotal FROM placed
"""
LOCK_STOCK = """
    SELECT product_id, price, available FROM locklab.stock WHERE product_id = ANY(%s) ORDER BY product_id
    FOR NO KEY UPDATE
"""


@dataclass(frozen=True, slots=True)
class Shelf:
    price: int
    available: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an order; `left` and `balance` are the values after it, in the order of its lines."""

    said: str
    subtotal: int
    discount: int
    left: list[int]
    balance: int
    prices: list[int]

    @property
    def total(self) -> int:
        return self.subtotal - self.discount


def decide(order: Order, *, stock: dict[int, Shelf], balance: int, discount: int | None) -> Decision:
    """
    Decide one order from what was read; `discount` is None when its coupon cannot be used.

    Units: money in minor units.
    """
    prices = [stock[line.product_id].price for line in order.lines]
    left = [stock[line.product_id].available - line.quantity for line in order.lines]
    subtotal = sum(price * line.quantity for price, line in zip(prices, order.lines, strict=True))
    off = discount or 0
    if min(left) < 0:
        said = OUT_OF_STOCK
    elif discount is None:
        said = COUPON_USED
    else:
        said = PAID if balance >= subtotal - off else NO_MONEY
    return Decision(said, subtotal, off if said == PAID else 0, left, balance - (subtotal - off), prices)


def parameters(order: Order, decision: Decision) -> dict[str, Any]:
    """Return what RECORD and WRITE ask for."""
    is_paid = decision.said == PAID
    return asked(order) | {
        "subtotal": decision.subtotal,
        "discount": decision.discount,
        "total": decision.total,
        "paid": is_paid,
        "refusal": "" if is_paid else decision.said,
        "prices": decision.prices,
        "left": decision.left,
        "balance": decision.balance,
    }


def asked(order: Order) -> dict[str, Any]:
    """Return the order as parameters."""
    return {
        "number": order.number,
        "user": order.user_id,
        "coupon": order.coupon_id,
        "products": order.product_ids,
        "quantities": order.quantities,
    }


def accept(connection: psycopg.Connection, order: Order) -> tuple[int, int]:
    """Write a pending order at today's prices, in one statement and no hot row; return its id and subtotal."""
    row = connection.execute(ACCEPT, asked(order)).fetchone()
    assert row is not None  # noqa: S101 - RETURNING of one inserted row
    return int(row[0]), int(row[1])


def lock_stock(connection: psycopg.Connection, product_ids: list[int]) -> dict[int, Shelf]:
    """Lock shelves by id, so that two orders never wait for each other in a circle."""
    rows = connection.execute(LOCK_STOCK, [product_ids])
    return {product_id: Shelf(price, available) for product_id, price, available in rows}
