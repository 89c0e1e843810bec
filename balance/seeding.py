"""Wallets with an opening balance for seeded users, and the money side of seeded orders."""

from balance.models import HOUSE_CASH_ID, HOUSE_REVENUE_ID
from shop import db
from shop.seeding import Chunk, Demo, fills, fills_demo

HOUSE = {"cash": HOUSE_CASH_ID, "revenue": HOUSE_REVENUE_ID}
DEMO_BALANCE = 1_000_000

OPEN_WALLETS = """
    WITH owner AS MATERIALIZED (
        SELECT u.id AS user_id, u.date_joined AS at,
               nextval((SELECT pg_get_serial_sequence('balance_account', 'id')::regclass)) AS account_id
        FROM shop_user u WHERE u.id = ANY(%(user_ids)s) OR u.id BETWEEN %(low)s AND %(high)s
    ), account AS (
        INSERT INTO balance_account (id, kind) SELECT account_id, 'wallet' FROM owner
    ), wallet AS (
        INSERT INTO balance_wallet (account_id, user_id, balance, updated_at)
        SELECT account_id, user_id, %(balance)s, at FROM owner
    )
    INSERT INTO balance_transfer
        (kind, reference, debit_account_id, credit_account_id, amount, balance_after, reason, created_at)
    SELECT 'charge', 'seed:' || user_id, %(cash)s, account_id, %(balance)s, %(balance)s, 'opening balance', at
    FROM owner WHERE %(balance)s > 0 ORDER BY user_id
"""


@fills("users")
def open_wallets(chunk: Chunk) -> None:
    """Open a wallet for every user of the chunk, charged with the opening balance."""
    chunk.run(OPEN_WALLETS, user_ids=[], low=chunk.ids.start, high=chunk.ids.stop - 1, **HOUSE)


@fills_demo
def open_demo_wallets(demo: Demo) -> None:
    """Give the demo customer money and the operator an empty wallet, as a signup would."""
    for user_id, balance in ((demo.customer_id, DEMO_BALANCE), (demo.operator_id, 0)):
        db.rows(OPEN_WALLETS, {"user_ids": [user_id], "low": 0, "high": -1, "balance": balance, **HOUSE})


def count_buyers(limit: int) -> int:
    """Return how many wallets there are, counting no further than `limit`."""
    return int(db.rows("SELECT count(*) FROM (SELECT 1 FROM balance_wallet LIMIT %s) w", [limit])[0][0])


def list_buyers(chunk: Chunk) -> None:
    """
    Leave the users this chunk's orders may belong to in the temporary table `seed_buyer` (n from 0 on, user_id).

    The users of this run if it has some, else all; the chunk's lane decides which half (Note [Same seed, same data]).
    """
    users = chunk.blocks.get("users")
    chunk.run(
        """
        CREATE TEMP TABLE seed_buyer ON COMMIT DROP AS
        SELECT row_number() OVER (ORDER BY user_id) - 1 AS n, user_id FROM balance_wallet
        WHERE user_id %% %(lanes)s = %(lane)s AND (%(low)s::bigint IS NULL OR user_id BETWEEN %(low)s AND %(high)s)
        """,
        low=users.start if users else None,
        high=users.stop - 1 if users else None,
    )


def settle_seeded(chunk: Chunk) -> None:
    """
    Pay and refund the orders in the temporary table `seed_payment` (order_id, user_id, amount, paid_at, refunded_at).

    Wallets that cannot afford their orders are charged first. Transfers get ids in the order of their times, so that
    `balance_after` runs on in id order (M2).
    Locks: the wallets, by account.
    """
    for statement in (LOCK_WALLETS, CHARGE_WHAT_IS_MISSING, PAY_AND_REFUND, UPDATE_WALLETS, "DROP TABLE seed_wallet"):
        chunk.run(statement, **HOUSE)


LOCK_WALLETS = """
    CREATE TEMP TABLE seed_wallet ON COMMIT DROP AS
    WITH due AS MATERIALIZED (
        SELECT user_id, sum(amount) AS paid,
               coalesce(sum(amount) FILTER (WHERE refunded_at IS NOT NULL), 0) AS refunded,
               min(order_id) AS first_order_id, min(paid_at) AS first_at
        FROM seed_payment GROUP BY user_id
    ), locked AS MATERIALIZED (
        SELECT account_id, user_id, balance FROM balance_wallet WHERE user_id IN (SELECT user_id FROM due)
        ORDER BY account_id FOR NO KEY UPDATE
    )
    SELECT account_id, user_id, balance, paid - refunded AS spent, greatest(paid - balance, 0) AS missing,
           first_order_id, first_at
    FROM locked JOIN due USING (user_id)
"""

CHARGE_WHAT_IS_MISSING = """
    INSERT INTO balance_transfer
        (kind, reference, debit_account_id, credit_account_id, amount, balance_after, reason, created_at)
    SELECT 'charge', 'seed:order:' || first_order_id, %(cash)s, account_id, missing, balance + missing,
           'money for seeded orders', first_at - interval '1 minute'
    FROM seed_wallet WHERE missing > 0 ORDER BY account_id
"""

PAY_AND_REFUND = """
    WITH step AS (
        SELECT user_id, order_id, 'payment' AS kind, amount, -amount AS change, paid_at AS at FROM seed_payment
        UNION ALL
        SELECT user_id, order_id, 'refund', amount, amount, refunded_at FROM seed_payment WHERE refunded_at IS NOT NULL
    ), running AS (
        SELECT step.*, account_id, balance + missing
               + sum(change) OVER (PARTITION BY account_id ORDER BY at, order_id, kind) AS balance_after
        FROM step JOIN seed_wallet USING (user_id)
    )
    INSERT INTO balance_transfer
        (kind, reference, debit_account_id, credit_account_id, amount, balance_after, order_id, reason, created_at)
    SELECT kind, order_id::text AS reference,
           CASE kind WHEN 'payment' THEN account_id ELSE %(revenue)s END,
           CASE kind WHEN 'payment' THEN %(revenue)s ELSE account_id END,
           amount, balance_after, order_id, '', at
    FROM running ORDER BY at, order_id, kind
"""

UPDATE_WALLETS = """
    UPDATE balance_wallet w SET balance = s.balance + s.missing - s.spent, updated_at = %(now)s
    FROM seed_wallet s WHERE w.account_id = s.account_id
"""
