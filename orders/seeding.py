"""Orders of the last 90 days, all settled, with everything they did to goods and money."""

from balance.seeding import count_buyers, list_buyers, settle_seeded
from catalog.seeding import count_goods, list_goods, refresh_popularity, sell_seeded
from shop.seeding import LANES, CannotSeed, Chunk, Subject, Wish, add_subject, fills

LANE_LEAST = 10_000  # users and products; with fewer, two halves would look different


def lanes(wish: Wish) -> int:
    """Load side by side only when both halves have plenty of users and products."""
    users = wish.counts.get("users") or count_buyers(LANE_LEAST)
    products = wish.counts.get("products") or count_goods(LANE_LEAST)
    if not (users and products):
        raise CannotSeed("orders need users and products: ask for --users and --products too")
    return LANES if min(users, products) >= LANE_LEAST else 1


add_subject(
    Subject(
        name="orders",
        table="orders_order",
        last_number="SELECT max(id) FROM orders_order",
        rows_per_chunk=100_000,
        lanes=lanes,
        finish=refresh_popularity,
    )
)


@fills("orders")
def insert_orders(chunk: Chunk) -> None:
    """
    Insert settled orders: nine in ten paid, the others cancelled or failed for want of stock or money.

    Locks: wallet, stock, daily sales (Note [Lock order]), taken after the orders' own rows are in.
    """
    list_buyers(chunk)
    list_goods(chunk)
    for statement in (CHOOSE_ORDERS, CHOOSE_LINES, INSERT_ORDERS, INSERT_LINES, INSERT_HISTORY, LIST_PAYMENTS):
        chunk.run(statement)
    settle_seeded(chunk)
    sell_seeded(chunk)
    chunk.run("DROP TABLE seed_buyer, seed_good, seed_order, seed_line, seed_payment")


# A third of the buyers order, some of them often. An order takes a second to settle; times never pass `now`.
CHOOSE_ORDERS = """
    CREATE TEMP TABLE seed_order ON COMMIT DROP AS
    WITH size AS (
        SELECT greatest(least(count(*), 50), count(*) * 0.35) AS buyers FROM seed_buyer
    ), rolled AS (
        SELECT %(first_id)s + i AS order_id, %(number)s + i AS number,
               floor(buyers * power(pg_temp.dice(%(number)s + i, 201), 1.5))::bigint AS buyer,
               pg_temp.dice(%(number)s + i, 202) AS fate,
               1 + floor(3 * power(pg_temp.dice(%(number)s + i, 203), 2.3))::int AS slots,
               %(now)s - interval '90 days'
               + (interval '90 days' - interval '10 seconds')
               * ((%(done)s + i + pg_temp.dice(%(number)s + i, 205)) / %(total)s) AS created_at
        FROM generate_series(0, %(count)s - 1) i, size
    )
    SELECT order_id, number, user_id, slots, created_at,
           created_at + interval '1 second' * (0.2 + 0.8 * pg_temp.dice(number, 206)) AS settled_at,
           CASE WHEN fate >= 0.95 THEN 'failed' WHEN fate >= 0.90 THEN 'cancelled' ELSE 'paid' END AS status,
           CASE WHEN fate >= 0.98 THEN 'insufficient_balance' WHEN fate >= 0.95 THEN 'out_of_stock' ELSE '' END
           AS failure,
           least(%(now)s, created_at + interval '2 seconds' + interval '2 days' * pg_temp.dice(number, 207))
           AS cancelled_at
    FROM rolled JOIN seed_buyer ON n = buyer
"""

# Slot k takes products whose n leaves k when divided by 3, so no order has a product twice.
CHOOSE_LINES = """
    CREATE TEMP TABLE seed_line ON COMMIT DROP AS
    WITH size AS (SELECT count(*) AS goods FROM seed_good), rolled AS (
        SELECT o.*,
               slot + 3 * floor((goods - slot + 2) / 3 * power(pg_temp.dice(number, 210 + slot), 3))::bigint AS good,
               1 + floor(3 * power(pg_temp.dice(number, 220 + slot), 4))::int AS quantity
        FROM seed_order o CROSS JOIN size CROSS JOIN generate_series(0, 2) slot
        WHERE slot < slots AND slot < goods
    )
    SELECT order_id, product_id, product_name, unit_price, quantity, unit_price * quantity AS amount,
           CASE WHEN failure <> 'out_of_stock' THEN created_at + (settled_at - created_at) * 0.4 END AS reserved_at,
           CASE status WHEN 'cancelled' THEN cancelled_at
                       WHEN 'failed' THEN CASE failure WHEN 'insufficient_balance' THEN settled_at END
           END AS released_at,
           CASE status WHEN 'paid' THEN settled_at END AS sold_at
    FROM rolled JOIN seed_good ON n = good
"""

INSERT_ORDERS = """
    INSERT INTO orders_order (id, user_id, status, subtotal, discount, total, issuance_id, refusal, failure_code,
                              request_id, created_at, settled_at)
    SELECT order_id, user_id, status, subtotal, 0, subtotal, NULL, '', failure, '', created_at,
           CASE status WHEN 'cancelled' THEN cancelled_at ELSE settled_at END
    FROM seed_order JOIN (SELECT order_id, sum(amount) AS subtotal FROM seed_line GROUP BY 1) line USING (order_id)
    ORDER BY order_id
"""

INSERT_LINES = """
    INSERT INTO orders_orderline (order_id, product_id, product_name, unit_price, quantity)
    SELECT order_id, product_id, product_name, unit_price, quantity FROM seed_line ORDER BY order_id, product_id
"""

INSERT_HISTORY = """
    INSERT INTO orders_orderhistory (order_id, status, at, reason)
    SELECT order_id, step, at, reason FROM seed_order, LATERAL (VALUES
        (1, 'pending', created_at, '', true),
        (2, 'stock_reserved', created_at + (settled_at - created_at) * 0.4, '', failure <> 'out_of_stock'),
        (3, 'coupon_applied', created_at + (settled_at - created_at) * 0.7, '', failure <> 'out_of_stock'),
        (4, 'failed', settled_at, failure, status = 'failed'),
        (5, 'paid', settled_at, '', status <> 'failed'),
        (6, 'cancelled', cancelled_at, 'seeded', status = 'cancelled')
    ) AS taken (position, step, at, reason, is_taken)
    WHERE is_taken ORDER BY order_id, position
"""

LIST_PAYMENTS = """
    CREATE TEMP TABLE seed_payment ON COMMIT DROP AS
    SELECT order_id, user_id, sum(amount) AS amount, settled_at AS paid_at,
           CASE status WHEN 'cancelled' THEN cancelled_at END AS refunded_at
    FROM seed_order JOIN seed_line USING (order_id) WHERE status <> 'failed' GROUP BY 1, 2, 4, 5 HAVING sum(amount) > 0
"""
