"""Reports of what was ordered and paid."""

from shop.reports import report


@report("sales", "orders, pieces and money by day; cancelled orders on the day they were cancelled")
def sales() -> str:
    return """
        WITH settled AS (
            SELECT id, status, subtotal, discount, total, (settled_at AT TIME ZONE %(zone)s)::date AS date
            FROM orders_order WHERE settled_at >= %(from)s AND settled_at < %(to)s
        ), piece AS (
            SELECT date, sum(quantity) AS units FROM settled JOIN orders_orderline ON order_id = settled.id
            WHERE status = 'paid' GROUP BY date
        ), summed AS (
            SELECT date, count(*) FILTER (WHERE status = 'paid') AS paid_orders,
                   sum(subtotal) FILTER (WHERE status = 'paid') AS subtotal,
                   sum(discount) FILTER (WHERE status = 'paid') AS discount,
                   sum(total) FILTER (WHERE status = 'paid') AS total,
                   count(*) FILTER (WHERE status = 'cancelled') AS cancelled_orders,
                   sum(total) FILTER (WHERE status = 'cancelled') AS refunded,
                   count(*) FILTER (WHERE status = 'failed') AS failed_orders
            FROM settled GROUP BY date
        )
        SELECT day::date AS date, coalesce(paid_orders, 0) AS paid_orders, coalesce(units, 0) AS units,
               coalesce(subtotal, 0) AS subtotal, coalesce(discount, 0) AS discount, coalesce(total, 0) AS total,
               coalesce(cancelled_orders, 0) AS cancelled_orders, coalesce(refunded, 0) AS refunded,
               coalesce(failed_orders, 0) AS failed_orders
        FROM generate_series(%(from_date)s::timestamp, %(to_date)s::timestamp - interval '1 day', interval '1 day') day
        LEFT JOIN summed ON summed.date = day::date LEFT JOIN piece ON piece.date = day::date ORDER BY day
    """
