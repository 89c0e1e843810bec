"""The original report's design: a Redis multi-lock over everything the order touches, around one transaction."""

import psycopg

from loadtests.lab import records
from loadtests.lab.answers import TIMED_OUT, Answer
from loadtests.lab.market import Order
from loadtests.lab.means import Means
from loadtests.lab.records import Shelf
from loadtests.lab.redis_locks import MultiLock, NotLocked

READ_STOCK = "SELECT product_id, price, available FROM locklab.stock WHERE product_id = ANY(%s)"
READ_WALLET = "SELECT balance FROM locklab.wallet WHERE user_id = %s"
READ_COUPON = "SELECT discount FROM locklab.coupon WHERE coupon_id = %s AND user_id = %s AND used_by IS NULL"


class MultiLocked:
    """`is_sorted` takes products by id, so in one order for all; the report does not say, Redisson does not do it."""

    def __init__(self, means: Means, *, is_sorted: bool = True) -> None:
        self._connection, self._is_sorted = means.connection, is_sorted
        self._lock = MultiLock(means.redis, prefix=means.prefix)

    def place(self, order: Order) -> Answer:
        keys = keys_of(order, is_sorted=self._is_sorted)
        self._lock.waited_seconds = 0.0
        try:
            self._lock.acquire(keys)
        except NotLocked:
            return Answer(TIMED_OUT, waited_seconds=self._lock.waited_seconds)
        leases_lost = 0
        try:
            said = write(self._connection, order)  # committed before the locks are given back
        finally:
            leases_lost = self._lock.release(keys)
        return Answer(said, waited_seconds=self._lock.waited_seconds, leases_lost=leases_lost)


def keys_of(order: Order, *, is_sorted: bool) -> list[str]:
    """Return what the order touches, each thing a key of its own: user, coupon, products by id or as in the cart."""
    coupon = [] if order.coupon_id is None else [f"coupon:{order.coupon_id}"]
    product_ids = sorted(order.product_ids) if is_sorted else order.product_ids
    return [f"user:{order.user_id}", *coupon, *(f"product:{product_id}" for product_id in product_ids)]


def write(connection: psycopg.Connection, order: Order) -> str:
    """Read, decide and write one order in one transaction that takes no lock before it writes."""
    with connection.transaction():
        balance = connection.execute(READ_WALLET, [order.user_id]).fetchone()
        assert balance is not None  # noqa: S101 - every customer of the market has a wallet
        discount = read_discount(connection, order)
        stock = read_stock(connection, order.product_ids)
        decision = records.decide(order, stock=stock, balance=balance[0], discount=discount)
        connection.execute(records.WRITE, records.parameters(order, decision))
    return decision.said


def read_discount(connection: psycopg.Connection, order: Order) -> int | None:
    """Return what the order's coupon takes off, 0 without one, None if it cannot be used."""
    if order.coupon_id is None:
        return 0
    row = connection.execute(READ_COUPON, [order.coupon_id, order.user_id]).fetchone()
    return None if row is None else int(row[0])


def read_stock(connection: psycopg.Connection, product_ids: list[int]) -> dict[int, Shelf]:
    rows = connection.execute(READ_STOCK, [product_ids])
    return {product_id: Shelf(price, available) for product_id, price, available in rows}
