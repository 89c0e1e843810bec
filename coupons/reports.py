"""Reports of campaigns."""

from shop.reports import report


@report("coupons", "campaigns open at some time in the range: how many were issued and used in all and in the range")
def coupons() -> str:
    return """
        WITH counted AS (
            SELECT campaign_id, count(*) FILTER (WHERE issued_at >= %(from)s AND issued_at < %(to)s) AS issued_in_range,
                   count(*) FILTER (WHERE status = 'used') AS used,
                   count(*) FILTER (WHERE used_at >= %(from)s AND used_at < %(to)s) AS used_in_range,
                   count(*) FILTER (WHERE status = 'expired') AS expired
            FROM coupons_issuance WHERE status <> 'rejected' GROUP BY campaign_id
        )
        SELECT id AS campaign_id, name, discount_type, discount_value, opens_at, closes_at, total_quantity, issued,
               coalesce(issued_in_range, 0) AS issued_in_range, coalesce(used, 0) AS used,
               coalesce(used_in_range, 0) AS used_in_range, coalesce(expired, 0) AS expired
        FROM coupons_campaign LEFT JOIN counted ON campaign_id = id
        WHERE opens_at < %(to)s AND closes_at > %(from)s ORDER BY opens_at, id
    """
