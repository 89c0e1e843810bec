"""
Optimistic versioning: nothing is locked while reading; every write names the version it read, and begins again if that
is not the version any more.
"""

import random
import time
from dataclasses import dataclass

import psycopg

from loadtests.lab import records
from loadtests.lab.answers import GAVE_UP, PAID, PATIENCE_SECONDS, Answer
from loadtests.lab.market import Order
from loadtests.lab.means import Means
from loadtests.lab.records import Decision, Shelf

READ_WALLET = "SELECT balance, version FROM locklab.wallet WHERE user_id = %s"
READ_COUPON = "SELECT discount FROM locklab.coupon WHERE coupon_id = %s AND user_id = %s AND used_by IS NULL"
READ_STOCK = "SELECT product_id, price, available, version FROM locklab.stock WHERE product_id = ANY(%s)"
WRITE_WALLET = """
    UPDATE locklab.wallet SET balance = %(balance)s, version = version + 1
    WHERE user_id = %(user)s AND version = %(version)s
"""
WRITE_COUPON = "UPDATE locklab.coupon SET used_by = %s WHERE coupon_id = %s AND used_by IS NULL"
WRITE_STOCK = """
    UPDATE locklab.stock SET available = %(available)s, version = version + 1
    WHERE product_id = %(product)s AND version = %(version)s
"""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.032


class Conflict(Exception):
    """Somebody else wrote what this attempt had read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an attempt read, with the versions it must still find when it writes."""

    balance: int
    version: int
    discount: int | None
    stock: dict[int, Shelf]


class Optimistic:
    def __init__(self, means: Means) -> None:
        self._connection = means.connection

    def place(self, order: Order) -> Answer:
        deadline = time.monotonic() + PATIENCE_SECONDS
        retries, pause = 0, FIRST_PAUSE_SECONDS
        while True:
            try:
                return Answer(attempt(self._connection, order), retries)
            except Conflict:
                retries += 1
            if time.monotonic() > deadline:
                return Answer(GAVE_UP, retries)
            time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads the retries
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def attempt(connection: psycopg.Connection, order: Order) -> str:
    """
    Read, decide, write. Raises Conflict, with nothing written.

    The contended rows are written last and by id: an uncommitted write is a row lock like any other.
    """
    with connection.transaction():
        seen = read(connection, order)
        decision = records.decide(order, stock=seen.stock, balance=seen.balance, discount=seen.discount)
        row = connection.execute(records.RECORD, records.parameters(order, decision)).fetchone()
        assert row is not None  # noqa: S101 - RETURNING of one inserted row
        if decision.said == PAID:
            write(connection, order, decision, seen, order_id=row[0])
    return decision.said


def read(connection: psycopg.Connection, order: Order) -> Seen:
    wallet = connection.execute(READ_WALLET, [order.user_id]).fetchone()
    assert wallet is not None  # noqa: S101 - every customer of the market has a wallet
    discount: int | None = 0
    if order.coupon_id is not None:
        coupon = connection.execute(READ_COUPON, [order.coupon_id, order.user_id]).fetchone()
        discount = None if coupon is None else coupon[0]
    rows = connection.execute(READ_STOCK, [order.product_ids])
    stock = {product_id: Shelf(price, available, version) for product_id, price, available, version in rows}
    return Seen(wallet[0], wallet[1], discount, stock)


def write(connection: psycopg.Connection, order: Order, decision: Decision, seen: Seen, *, order_id: int) -> None:
    """Write over exactly the versions that were read. Raises Conflict."""
    given = {"balance": decision.balance, "user": order.user_id, "version": seen.version}
    changed = connection.execute(WRITE_WALLET, given).rowcount
    if order.coupon_id is not None:
        changed += connection.execute(WRITE_COUPON, [order_id, order.coupon_id]).rowcount
    shelves = sorted(zip(order.product_ids, decision.left, strict=True))
    with connection.cursor() as cursor:
        cursor.executemany(
            WRITE_STOCK,
            [
                {"product": product_id, "available": available, "version": seen.stock[product_id].version}
                for product_id, available in shelves
            ],
        )
        changed += cursor.rowcount
    if changed != 1 + (order.coupon_id is not None) + len(shelves):
        raise Conflict
