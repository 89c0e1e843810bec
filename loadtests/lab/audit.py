"""
What must be true after a run, whatever the strategy: money and stock add up, and every order happened exactly once.

The rows are compared with each other and with what the customers were told; both must hold.
"""

from dataclasses import dataclass

import psycopg

from loadtests.lab import tables
from loadtests.lab.answers import ACCEPTED, FAILURES, PAID, REFUSALS

EXAMPLES = 3

CHECKS = {
    "money_conserved": """
        SELECT 'wallets held ' || had || ' and hold ' || have || ', transfers say ' || moved
        FROM (SELECT sum(initial) AS had, sum(balance) AS have FROM locklab.wallet) AS wallets,
             (SELECT coalesce(sum(amount), 0) AS moved FROM locklab.transfer) AS transfers
        WHERE had <> have + moved
    """,
    "wallet_is_its_transfers": """
        SELECT 'user ' || user_id || ' has ' || balance || ', should have ' || initial - coalesce(moved, 0)
        FROM locklab.wallet
        LEFT JOIN (SELECT user_id, sum(amount) AS moved FROM locklab.transfer GROUP BY 1) AS t USING (user_id)
        WHERE balance <> initial - coalesce(moved, 0)
    """,
    "wallet_not_negative": "SELECT 'user ' || user_id || ' has ' || balance FROM locklab.wallet WHERE balance < 0",
    "stock_is_its_movements": """
        SELECT 'product ' || product_id || ' has ' || available || ', should have ' || initial - coalesce(moved, 0)
        FROM locklab.stock
        LEFT JOIN (SELECT product_id, sum(quantity) AS moved FROM locklab.movement GROUP BY 1) AS m USING (product_id)
        WHERE available <> initial - coalesce(moved, 0)
    """,
    "not_oversold": """
        SELECT 'product ' || product_id || ': ' || coalesce(sold, 0) || ' sold of ' || initial
               || ', ' || available || ' left'
        FROM locklab.stock
        LEFT JOIN (SELECT product_id, sum(quantity) AS sold FROM locklab.line JOIN locklab.orders ON id = order_id
                   WHERE state = 'paid' GROUP BY 1) AS s USING (product_id)
        WHERE available < 0 OR coalesce(sold, 0) > initial
    """,
    "paid_exactly_once": """
        SELECT 'order ' || number || ' is ' || state || ': ' || coalesce(times, 0) || ' transfers, together '
               || coalesce(amount, 0) || ' of ' || total
        FROM locklab.orders
        LEFT JOIN (SELECT order_id AS id, count(*) AS times, sum(amount) AS amount FROM locklab.transfer GROUP BY 1)
               AS t USING (id)
        WHERE coalesce(times, 0) <> (state = 'paid')::int
              OR coalesce(amount, 0) <> CASE WHEN state = 'paid' THEN total ELSE 0 END
    """,
    "stock_taken_exactly_once": """
        SELECT 'order ' || number || ' is ' || state || ': took ' || coalesce(taken, 0) || ' of product ' || product_id
               || ', wanted ' || quantity
        FROM locklab.orders JOIN locklab.line ON order_id = id
        LEFT JOIN (SELECT order_id AS id, product_id, sum(quantity) AS taken FROM locklab.movement GROUP BY 1, 2)
               AS m USING (id, product_id)
        WHERE coalesce(taken, 0) <> CASE WHEN state = 'paid' THEN quantity ELSE 0 END
    """,
    "coupon_spent_at_most_once": """
        SELECT 'coupon ' || coupon_id || ': used by order ' || coalesce(used_by::text, 'none') || ', paid orders '
               || coalesce(array_to_string(ids, ', '), 'none')
        FROM locklab.coupon
        LEFT JOIN (SELECT coupon_id, array_agg(id) AS ids FROM locklab.orders
                   WHERE state = 'paid' AND coupon_id IS NOT NULL GROUP BY 1) AS o USING (coupon_id)
        WHERE ids IS DISTINCT FROM CASE WHEN used_by IS NOT NULL THEN ARRAY[used_by] END
    """,
    "totals_add_up": """
        SELECT 'order ' || number || ': ' || subtotal || ' - ' || orders.discount || ' = ' || total || ', lines ' || sum
        FROM locklab.orders
        JOIN (SELECT order_id AS id, sum(quantity * unit_price) AS sum FROM locklab.line GROUP BY 1) AS l USING (id)
        LEFT JOIN locklab.coupon USING (coupon_id)
        WHERE subtotal <> sum OR total <> subtotal - orders.discount
              OR orders.discount <> CASE WHEN state = 'paid' THEN coalesce(coupon.discount, 0) ELSE 0 END
    """,
    "every_order_settled": """
        SELECT 'order ' || number || ' is still ' || state FROM locklab.orders WHERE state NOT IN ('paid', 'failed')
    """,
    "no_order_lost": """
        SELECT 'order ' || number || ': the customer was told ' || said || ', there is no such order'
        FROM locklab.answer WHERE said <> ALL(%(failures)s)
             AND NOT EXISTS (SELECT FROM locklab.orders WHERE orders.number = answer.number)
    """,
    "no_order_twice": """
        SELECT 'order ' || number || ' is there ' || count(*) || ' times' FROM locklab.orders
        GROUP BY number HAVING count(*) > 1
    """,
    "as_the_customer_was_told": """
        SELECT 'order ' || number || ': the customer was told ' || coalesce(said, 'nothing') || ', it is '
               || state || ' ' || refusal
        FROM locklab.orders LEFT JOIN locklab.answer USING (number)
        WHERE CASE
            WHEN said = %(accepted)s THEN false
            WHEN said = %(paid)s THEN state <> 'paid'
            WHEN said = ANY(%(refusals)s) THEN state <> 'failed' OR refusal <> said
            ELSE state <> 'failed'
        END
    """,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A check that found something: how many rows, and a few of them in words."""

    check: str
    count: int
    examples: list[str]

    def __str__(self) -> str:
        return f"{self.check}: {self.count} ({'; '.join(self.examples)})"


def violations(connection: psycopg.Connection, answers: dict[int, str]) -> list[Violation]:
    """
    Return every check that fails on what is in the tables now.

    Shapes: answers has what the customer was told, for every order that was sent.
    """
    tables.tell(connection, answers)
    given = {"failures": list(FAILURES), "refusals": list(REFUSALS), "accepted": ACCEPTED, "paid": PAID}
    found = []
    for name, sql in CHECKS.items():
        rows = [row[0] for row in connection.execute(sql, given if "%(" in sql else None)]
        if rows:
            found.append(Violation(name, len(rows), sorted(rows)[:EXAMPLES]))
    return found
