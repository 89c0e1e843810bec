"""
Split transactions per order, the original report's own remedy: order, stock, coupon and payment each commit alone.

What was taken is given back by one more transaction when a later step refuses. The customer waits for all of them.
"""

import psycopg

from loadtests.lab import records
from loadtests.lab.answers import COUPON_USED, NO_MONEY, OUT_OF_STOCK, PAID, TIMED_OUT, Answer
from loadtests.lab.market import Order
from loadtests.lab.means import Means

TAKE_STOCK = """
    WITH moved AS (
        INSERT INTO locklab.movement (order_id, product_id, quantity)
        SELECT %(order)s, * FROM unnest(%(products)s::int[], %(quantities)s::int[])
    ), shelves AS (
        UPDATE locklab.stock SET available = available - given.quantity
        FROM unnest(%(products)s::int[], %(quantities)s::int[]) AS given (product_id, quantity)
        WHERE stock.product_id = given.product_id
    )
    UPDATE locklab.orders SET state = 'reserved' WHERE id = %(order)s
"""
USE_COUPON = """
    WITH used AS (
        UPDATE locklab.coupon SET used_by = %(order)s
        WHERE coupon_id = %(coupon)s AND user_id = %(user)s AND used_by IS NULL RETURNING discount
    )
    UPDATE locklab.orders SET state = 'redeemed', discount = used.discount, total = subtotal - used.discount
    FROM used WHERE id = %(order)s RETURNING used.discount
"""
PAY = """
    WITH purse AS (
        UPDATE locklab.wallet SET balance = balance - %(total)s
        WHERE user_id = %(user)s AND balance >= %(total)s RETURNING user_id
    ), debited AS (
        INSERT INTO locklab.transfer (order_id, user_id, amount) SELECT %(order)s, user_id, %(total)s FROM purse
    )
    UPDATE locklab.orders SET state = 'paid' FROM purse WHERE id = %(order)s RETURNING id
"""
GIVE_BACK = """
    WITH taken AS (
        SELECT product_id, sum(quantity) AS quantity FROM locklab.movement WHERE order_id = %(order)s GROUP BY 1
    ), moved AS (
        INSERT INTO locklab.movement (order_id, product_id, quantity)
        SELECT %(order)s, product_id, -quantity FROM taken
    ), shelves AS (
        UPDATE locklab.stock SET available = available + taken.quantity FROM taken
        WHERE stock.product_id = taken.product_id
    ), freed AS (
        UPDATE locklab.coupon SET used_by = NULL WHERE coupon_id = %(coupon)s::int AND used_by = %(order)s
    )
    UPDATE locklab.orders SET state = 'failed', refusal = %(refusal)s, discount = 0, total = subtotal
    WHERE id = %(order)s
"""
FAIL = "UPDATE locklab.orders SET state = 'failed', refusal = %(refusal)s WHERE id = %(order)s"


class Split:
    def __init__(self, means: Means) -> None:
        self._connection = means.connection

    def place(self, order: Order) -> Answer:
        order_id, subtotal = records.accept(self._connection, order)
        given = records.asked(order) | {"order": order_id}
        refusal = self._reserve(order, given)
        if refusal:
            self._connection.execute(FAIL, given | {"refusal": refusal})
        elif refusal := self._charge(order, given, subtotal):
            self._give_back(order, given | {"refusal": refusal})
        return Answer(refusal or PAID)

    def _charge(self, order: Order, given: dict[str, object], subtotal: int) -> str:
        """Use the coupon and take the money; return the refusal, or nothing."""
        discount = 0
        try:
            if order.coupon_id is not None:
                used = self._connection.execute(USE_COUPON, given).fetchone()
                if used is None:
                    return COUPON_USED
                discount = used[0]
            paid = self._connection.execute(PAY, given | {"total": subtotal - discount}).fetchone()
        except psycopg.errors.LockNotAvailable:
            return TIMED_OUT
        return "" if paid else NO_MONEY

    def _reserve(self, order: Order, given: dict[str, object]) -> str:
        """Take the stock; return the refusal, or nothing."""
        try:
            with self._connection.transaction():
                stock = records.lock_stock(self._connection, order.product_ids)
                if any(stock[line.product_id].available < line.quantity for line in order.lines):
                    return OUT_OF_STOCK
                self._connection.execute(TAKE_STOCK, given)
        except psycopg.errors.LockNotAvailable:
            return TIMED_OUT
        return ""

    def _give_back(self, order: Order, given: dict[str, object]) -> None:
        """Give back what was taken, however long that takes: nobody else would."""
        while True:
            try:
                with self._connection.transaction():
                    records.lock_stock(self._connection, order.product_ids)
                    self._connection.execute(GIVE_BACK, given)
            except psycopg.errors.LockNotAvailable:
                continue
            return
