"""`select_for_update` in one transaction per order: wallet, coupon, then shelves by id."""

import psycopg

from loadtests.lab import records
from loadtests.lab.answers import Answer
from loadtests.lab.market import Order
from loadtests.lab.means import Means
from loadtests.lab.records import Shelf

LOCK_WALLET = "SELECT balance FROM locklab.wallet WHERE user_id = %s FOR NO KEY UPDATE"
LOCK_COUPON = """
    SELECT discount, used_by FROM locklab.coupon WHERE coupon_id = %s AND user_id = %s FOR NO KEY UPDATE
"""


class ForUpdate:
    """Without `is_sorted` the shelves are locked as they lie in the cart: what the one order for all is worth."""

    def __init__(self, means: Means, *, is_sorted: bool = True) -> None:
        self._connection, self._is_sorted = means.connection, is_sorted

    def place(self, order: Order) -> Answer:
        with self._connection.transaction():
            balance = self._connection.execute(LOCK_WALLET, [order.user_id]).fetchone()
            assert balance is not None  # noqa: S101 - every customer of the market has a wallet
            discount = lock_discount(self._connection, order)
            stock = self._lock_stock(order)  # last: the only rows that many want
            decision = records.decide(order, stock=stock, balance=balance[0], discount=discount)
            self._connection.execute(records.WRITE, records.parameters(order, decision))
        return Answer(decision.said)

    def _lock_stock(self, order: Order) -> dict[int, Shelf]:
        if self._is_sorted:
            return records.lock_stock(self._connection, order.product_ids)
        stock: dict[int, Shelf] = {}
        for product_id in order.product_ids:
            stock |= records.lock_stock(self._connection, [product_id])
        return stock


def lock_discount(connection: psycopg.Connection, order: Order) -> int | None:
    """Lock the order's coupon; return what it takes off, 0 without one, None if it cannot be used."""
    if order.coupon_id is None:
        return 0
    row = connection.execute(LOCK_COUPON, [order.coupon_id, order.user_id]).fetchone()
    return None if row is None or row[1] is not None else int(row[0])
