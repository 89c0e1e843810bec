"""
The shop's design in miniature: `place` only writes a pending order and wakes; a settler moves orders on in batches.

Each stage claims the next batch in the order of acceptance, locks the rows it needs once and by id, decides in memory,
writes set-based and commits. One settler works here; the lab times each order until the commit that settles it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
import redis

from loadtests.lab import records
from loadtests.lab.answers import ACCEPTED, COUPON_USED, NO_MONEY, OUT_OF_STOCK, Answer
from loadtests.lab.market import Order
from loadtests.lab.means import Means

BATCH = 200  # orders in one transaction at most
FLAG_MS = 2_000  # a wake-up that gets lost delays no longer than this
LOOK_SECONDS = 0.2  # the settler looks this often even if nobody wakes it
STAGE_KEY = 7_270_001  # of the advisory lock that lets one batch at a time through a stage

TAKE_TURN = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
CLAIM = """
    SELECT id, number, user_id, coupon_id, total FROM locklab.orders WHERE state = %s ORDER BY id LIMIT %s
    FOR NO KEY UPDATE SKIP LOCKED
"""
LINES = "SELECT order_id, product_id, quantity FROM locklab.line WHERE order_id = ANY(%s)"
TAKE_STOCK = """
    UPDATE locklab.stock SET available = available - given.quantity
    FROM unnest(%s::int[], %s::int[]) AS given (product_id, quantity) WHERE stock.product_id = given.product_id
"""
MOVE_STOCK = """
    INSERT INTO locklab.movement (order_id, product_id, quantity)
    SELECT * FROM unnest(%s::bigint[], %s::int[], %s::int[])
"""
LOCK_COUPONS = """
    SELECT coupon_id, user_id, discount FROM locklab.coupon WHERE coupon_id = ANY(%s) AND used_by IS NULL
    ORDER BY coupon_id FOR NO KEY UPDATE
"""
USE_COUPONS = """
    WITH given AS (SELECT * FROM unnest(%s::int[], %s::bigint[]) AS given (coupon_id, order_id)), used AS (
        UPDATE locklab.coupon SET used_by = given.order_id FROM given WHERE coupon.coupon_id = given.coupon_id
        RETURNING given.order_id, coupon.discount
    )
    UPDATE locklab.orders SET discount = used.discount, total = subtotal - used.discount FROM used
    WHERE orders.id = used.order_id
"""
LOCK_WALLETS = """
    SELECT user_id, balance FROM locklab.wallet WHERE user_id = ANY(%s) ORDER BY user_id FOR NO KEY UPDATE
"""
DEBIT = """
    UPDATE locklab.wallet SET balance = given.balance
    FROM unnest(%s::int[], %s::bigint[]) AS given (user_id, balance) WHERE wallet.user_id = given.user_id
"""
TRANSFER = """
    INSERT INTO locklab.transfer (order_id, user_id, amount) SELECT * FROM unnest(%s::bigint[], %s::int[], %s::bigint[])
"""
ADVANCE = "UPDATE locklab.orders SET state = %s WHERE id = ANY(%s)"
REFUSE = """
    UPDATE locklab.orders SET state = %s, refusal = given.refusal
    FROM unnest(%s::bigint[], %s::text[]) AS given (id, refusal) WHERE orders.id = given.id
"""
FREE_COUPONS = "UPDATE locklab.coupon SET used_by = NULL WHERE used_by = ANY(%s)"
FAIL = "UPDATE locklab.orders SET state = 'failed', discount = 0, total = subtotal WHERE id = ANY(%s)"


class Batch:
    """The customer's side: a pending order, a wake-up, an answer."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def place(self, order: Order) -> Answer:
        records.accept(self._means.connection, order)
        wake(self._means.redis, self._means.prefix)
        return Answer(ACCEPTED)


def wake(client: redis.Redis, prefix: str) -> None:
    """Wake the settler, unless somebody has done so since it last began to look."""
    if client.set(f"{prefix}:flag", 1, nx=True, px=FLAG_MS):
        client.rpush(f"{prefix}:settle", 1)


@dataclass(frozen=True, slots=True)
class Claimed:
    order_id: int
    number: int
    user_id: int
    coupon_id: int | None
    total: int
    lines: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Settler:
    """The worker's side; `settled` has the moment of the commit that ended each order."""

    means: Means
    settled: dict[int, float] = field(default_factory=dict)

    def work(self, is_over: Callable[[], bool]) -> None:
        """Settle until told that no more orders come, and none is left."""
        client, prefix = self.means.redis, self.means.prefix
        while True:
            was_over = is_over()  # before the last look: what was accepted until now is still settled
            client.delete(f"{prefix}:flag")  # before the claim: what commits from now on wakes again
            self.drain()
            if was_over:
                return
            client.blpop([f"{prefix}:settle"], timeout=LOOK_SECONDS)

    def drain(self) -> None:
        """Run the stages until nothing is waiting."""
        while sum([self._run(stage) for stage in (reserve, redeem, pay, release)]):
            pass

    def _run(self, stage: Callable[[psycopg.Connection], tuple[int, list[int]]]) -> int:
        """Run one batch; note what it settled once that is committed."""
        with self.means.connection.transaction():
            claimed, settled = stage(self.means.connection)
        now = time.monotonic()
        self.settled.update(dict.fromkeys(settled, now))
        return claimed


def claim(connection: psycopg.Connection, state: str) -> list[Claimed]:
    """
    Lock the next orders in a state, in the order of acceptance.

    SKIP LOCKED alone would let two settlers interleave their batches and sell to a later order past an earlier one.
    """
    connection.execute(TAKE_TURN, [STAGE_KEY, state])
    return [Claimed(*row) for row in connection.execute(CLAIM, [state, BATCH])]


def with_lines(connection: psycopg.Connection, orders: list[Claimed]) -> list[Claimed]:
    by_id = {order.order_id: order for order in orders}
    for order_id, product_id, quantity in connection.execute(LINES, [list(by_id)]):
        by_id[order_id].lines.append((product_id, quantity))
    return orders


def reserve(connection: psycopg.Connection) -> tuple[int, list[int]]:
    orders = with_lines(connection, claim(connection, "pending"))
    if not orders:
        return 0, []
    wanted = {product_id for order in orders for product_id, _quantity in order.lines}
    stock = records.lock_stock(connection, sorted(wanted))
    left = {product_id: shelf.available for product_id, shelf in stock.items()}
    granted, refused = [], []
    for order in orders:
        if any(left[product_id] < quantity for product_id, quantity in order.lines):
            refused.append(order)
            continue
        for product_id, quantity in order.lines:
            left[product_id] -= quantity
        granted.append(order)
    move(connection, granted, sign=1)
    connection.execute(ADVANCE, ["reserved", [order.order_id for order in granted]])
    refuse(connection, dict.fromkeys((order.order_id for order in refused), OUT_OF_STOCK), state="failed")
    return len(orders), [order.number for order in refused]


def move(connection: psycopg.Connection, orders: list[Claimed], *, sign: int) -> None:
    """Take the orders' pieces from the locked shelves, or with sign -1 put them back."""
    moved = [(order.order_id, *line) for order in orders for line in order.lines]
    totals: dict[int, int] = {}
    for _order_id, product_id, quantity in moved:
        totals[product_id] = totals.get(product_id, 0) + sign * quantity
    connection.execute(TAKE_STOCK, [list(totals), list(totals.values())])
    columns = [row[0] for row in moved], [row[1] for row in moved], [sign * row[2] for row in moved]
    connection.execute(MOVE_STOCK, list(columns))


def refuse(connection: psycopg.Connection, refusals: dict[int, str], *, state: str) -> None:
    if refusals:
        connection.execute(REFUSE, [state, list(refusals), list(refusals.values())])


def redeem(connection: psycopg.Connection) -> tuple[int, list[int]]:
    orders = claim(connection, "reserved")
    if not orders:
        return 0, []
    named = sorted({order.coupon_id for order in orders if order.coupon_id is not None})
    usable = {row[0]: row[1] for row in connection.execute(LOCK_COUPONS, [named])} if named else {}
    granted, refusals, used = [], {}, {}
    for order in orders:
        if order.coupon_id is not None:
            if usable.pop(order.coupon_id, None) != order.user_id:  # a coupon goes to the first order that names it
                refusals[order.order_id] = COUPON_USED
                continue
            used[order.coupon_id] = order.order_id
        granted.append(order.order_id)
    if used:
        connection.execute(USE_COUPONS, [list(used), list(used.values())])
    connection.execute(ADVANCE, ["redeemed", granted])
    refuse(connection, refusals, state="refused")
    return len(orders), []


def pay(connection: psycopg.Connection) -> tuple[int, list[int]]:
    orders = claim(connection, "redeemed")
    if not orders:
        return 0, []
    users = sorted({order.user_id for order in orders})
    left: dict[int, int] = dict(connection.execute(LOCK_WALLETS, [users]).fetchall())
    granted, refusals = [], {}
    for order in orders:
        if left[order.user_id] < order.total:
            refusals[order.order_id] = NO_MONEY
            continue
        left[order.user_id] -= order.total
        granted.append(order)
    connection.execute(DEBIT, [list(left), list(left.values())])
    columns = [
        [order.order_id for order in granted],
        [order.user_id for order in granted],
        [order.total for order in granted],
    ]
    connection.execute(TRANSFER, columns)
    connection.execute(ADVANCE, ["paid", columns[0]])
    refuse(connection, refusals, state="refused")
    return len(orders), [order.number for order in granted]


def release(connection: psycopg.Connection) -> tuple[int, list[int]]:
    """Give back what refused orders had taken, and end them."""
    orders = with_lines(connection, claim(connection, "refused"))
    if not orders:
        return 0, []
    order_ids = [order.order_id for order in orders]
    records.lock_stock(connection, sorted({product_id for order in orders for product_id, _quantity in order.lines}))
    move(connection, orders, sign=-1)
    connection.execute(FREE_COUPONS, [order_ids])
    connection.execute(FAIL, [order_ids])
    return len(orders), [order.number for order in orders]
