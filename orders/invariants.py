"""What must hold for orders, and between orders and the money, goods and coupons they moved."""

from orders.models import Order
from orders.states import EDGES, UNSETTLED
from shop import roles
from shop.invariants import backlog, invariant

roles.written_once("orders_orderline", "orders_orderhistory")
STEPS = [("", "pending"), *((source.value, to.value) for source, targets in EDGES.items() for to in targets)]


@backlog("orders")
def unsettled_orders() -> int:
    return Order.objects.filter(status__in=UNSETTLED).count()


@invariant("M4", "an order is paid once, refunded once if cancelled, else moves no money")
def order_money() -> str:
    return """
        WITH moved AS (
            SELECT order_id, count(*) FILTER (WHERE kind = 'payment') AS payments,
                   count(*) FILTER (WHERE kind = 'refund') AS refunds, min(amount) AS least, max(amount) AS most
            FROM balance_transfer WHERE order_id IS NOT NULL GROUP BY order_id
        )
        SELECT o.id AS order_id, status, total, coalesce(payments, 0) AS payments, coalesce(refunds, 0) AS refunds,
               least AS amount
        FROM orders_order o LEFT JOIN moved m ON m.order_id = o.id
        WHERE least <> total OR most <> total
           OR coalesce(payments, 0) <> (total > 0 AND status IN ('paid', 'cancelled'))::int
           OR coalesce(refunds, 0) <> (total > 0 AND status = 'cancelled')::int
        ORDER BY o.id
    """


@invariant("M5", "payments and refunds touch the wallet of the order's owner, other transfers no order")
def owners() -> str:
    return """
        WITH wallet_side AS (
            SELECT id, kind, order_id,
                   CASE kind WHEN 'payment' THEN debit_account_id
                             WHEN 'adjustment' THEN greatest(debit_account_id, credit_account_id)
                             ELSE credit_account_id END AS account_id
            FROM balance_transfer
        )
        SELECT t.id AS transfer_id, t.kind, t.order_id, o.user_id AS owner, w.user_id AS wallet_of
        FROM wallet_side t LEFT JOIN orders_order o ON o.id = t.order_id LEFT JOIN balance_wallet w USING (account_id)
        WHERE (t.kind IN ('payment', 'refund')) <> (o.id IS NOT NULL) OR t.order_id IS NOT NULL AND o.id IS NULL
           OR w.user_id IS NULL OR o.user_id <> w.user_id
        ORDER BY t.id
    """


@invariant("S2", "each line is reserved once while its order lives and given back whole when it does not")
def reserved() -> str:
    # An order with a refusal still holds what it took; `release` gives it back and fails it in one transaction.
    return """
        WITH moved AS (
            SELECT order_id, product_id, coalesce(-sum(delta) FILTER (WHERE kind = 'reserve'), 0) AS reserved,
                   coalesce(sum(delta) FILTER (WHERE kind = 'release'), 0) AS released
            FROM catalog_stockmovement WHERE order_id IS NOT NULL GROUP BY order_id, product_id
        ), held AS (
            SELECT l.order_id, l.product_id, l.quantity, o.status, coalesce(reserved, 0) AS reserved,
                   coalesce(released, 0) AS released
            FROM orders_orderline l JOIN orders_order o ON o.id = l.order_id
            LEFT JOIN moved m ON m.order_id = l.order_id AND m.product_id = l.product_id
        )
        SELECT * FROM held
        WHERE CASE status WHEN 'pending' THEN reserved + released <> 0
                          WHEN 'failed' THEN reserved <> released OR reserved NOT IN (0, quantity)
                          WHEN 'cancelled' THEN reserved <> quantity OR released <> quantity
                          ELSE reserved <> quantity OR released <> 0 END
        ORDER BY order_id, product_id
    """


@invariant("S3", "no movement without its line; the sign follows the kind")
def movements() -> str:
    return """
        SELECT v.id AS movement_id, v.kind, v.delta, v.order_id, v.product_id
        FROM catalog_stockmovement v
        LEFT JOIN orders_orderline l ON l.order_id = v.order_id AND l.product_id = v.product_id
        WHERE (v.kind IN ('reserve', 'release')) <> (l.id IS NOT NULL) OR v.kind = 'restock' AND v.order_id IS NOT NULL
           OR v.kind = 'reserve' AND v.delta >= 0 OR v.kind = 'release' AND v.delta <= 0
        ORDER BY v.id
    """


@invariant("C2", "a used coupon belongs to exactly one live order of its owner, and the order to it")
def used_coupons() -> str:
    return """
        WITH live AS (
            SELECT id, user_id, issuance_id FROM orders_order
            WHERE issuance_id IS NOT NULL AND status IN ('coupon_applied', 'paid')
        )
        SELECT coalesce(i.id, live.issuance_id) AS issuance_id, i.status, i.order_id AS used_by, live.id AS order_id
        FROM coupons_issuance i FULL JOIN live ON live.issuance_id = i.id
        WHERE (i.status = 'used' OR live.id IS NOT NULL)
          AND (i.status = 'used' AND i.order_id = live.id AND i.user_id = live.user_id) IS NOT TRUE
        ORDER BY 1, 4
    """


@invariant("O1", "an order's amounts add up")
def amounts() -> str:
    return """
        WITH summed AS (
            SELECT order_id, sum(quantity * unit_price) AS amount FROM orders_orderline GROUP BY order_id
        )
        SELECT o.id AS order_id, subtotal, discount, total, amount AS lines
        FROM orders_order o LEFT JOIN summed ON order_id = o.id
        WHERE subtotal IS DISTINCT FROM amount OR total <> subtotal - discount OR discount NOT BETWEEN 0 AND subtotal
           OR discount > 0 AND issuance_id IS NULL
        ORDER BY o.id
    """


@invariant("O2", "a discount is what the campaign promised")
def discounts() -> str:
    return """
        WITH promised AS (
            SELECT o.id, o.subtotal, o.discount, c.min_order_amount, least(o.subtotal, CASE discount_type
                       WHEN 'fixed' THEN discount_value
                       ELSE least(o.subtotal * discount_value / 100, coalesce(max_discount, o.subtotal)) END)
                   AS should_be
            FROM orders_order o
            JOIN coupons_issuance i ON i.id = o.issuance_id JOIN coupons_campaign c ON c.id = i.campaign_id
            WHERE o.status IN ('coupon_applied', 'paid', 'cancelled')
        )
        SELECT id AS order_id, subtotal, discount, should_be, min_order_amount FROM promised
        WHERE subtotal < min_order_amount OR discount <> should_be ORDER BY id
    """


@invariant(
    "O3",
    "history walks legal edges and ends at the order's status",
    sources=[source for source, _ in STEPS],
    targets=[target for _, target in STEPS],
)
def history() -> str:
    return """
        WITH step AS (
            SELECT order_id, status, lag(status, 1, '') OVER steps AS previous,
                   lead(status) OVER steps IS NULL AS is_last
            FROM orders_orderhistory WINDOW steps AS (PARTITION BY order_id ORDER BY id)
        )
        SELECT order_id, previous, status FROM step
        WHERE (previous, status) NOT IN (SELECT * FROM unnest(%(sources)s::text[], %(targets)s::text[]))
        UNION ALL
        SELECT o.id, s.status, o.status FROM orders_order o LEFT JOIN step s ON s.order_id = o.id AND s.is_last
        WHERE s.status IS DISTINCT FROM o.status
        ORDER BY 1
    """


@invariant("O4", "settled_at, failure_code and refusal agree with the status")
def outcomes() -> str:
    return """
        SELECT id AS order_id, status, settled_at, failure_code, refusal FROM orders_order
        WHERE (settled_at IS NOT NULL) <> (status IN ('paid', 'failed', 'cancelled'))
           OR (failure_code <> '') <> (status = 'failed')
           OR refusal <> '' AND status NOT IN ('stock_reserved', 'coupon_applied')
        ORDER BY id
    """


@invariant("O5", "no order is left behind")
def left_behind() -> str:
    return """
        SELECT id AS order_id, status, created_at FROM orders_order
        WHERE status IN ('pending', 'stock_reserved', 'coupon_applied') AND refusal = ''
          AND (%(drained)s AND created_at < coalesce(%(looked_at)s, 'infinity'::timestamptz)
               OR created_at < now() - interval '60 seconds')
        ORDER BY id
    """


@invariant("O6", "what a refused order holds is given back within a minute")
def release_due() -> str:
    return """
        SELECT o.id AS order_id, o.status, refusal, max(h.at) AS since
        FROM orders_order o LEFT JOIN orders_orderhistory h ON h.order_id = o.id
        WHERE o.status IN ('pending', 'stock_reserved', 'coupon_applied') AND refusal <> ''
        GROUP BY o.id
        HAVING %(drained)s AND o.created_at < coalesce(%(looked_at)s, 'infinity'::timestamptz)
            OR coalesce(max(h.at), o.created_at) < now() - interval '60 seconds'
        ORDER BY o.id
    """


@invariant("D1", "daily sales = what paid orders sold on that day of the shop's calendar")
def daily_sales() -> str:
    return """
        WITH recount AS (
            SELECT (o.settled_at AT TIME ZONE %(zone)s)::date AS date, product_id, sum(quantity) AS units,
                   sum(quantity * unit_price) AS revenue
            FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id WHERE o.status = 'paid' GROUP BY 1, 2
        )
        SELECT date, product_id, coalesce(d.units, 0) AS units, coalesce(d.revenue, 0) AS revenue,
               coalesce(r.units, 0) AS should_be_units, coalesce(r.revenue, 0) AS should_be_revenue
        FROM catalog_dailysales d FULL JOIN recount r USING (date, product_id)
        WHERE coalesce(d.units, 0) <> coalesce(r.units, 0) OR coalesce(d.revenue, 0) <> coalesce(r.revenue, 0)
        ORDER BY date, product_id
    """
