"""Reports of what sold."""

from shop.reports import report


@report("top-selling", "products by pieces sold in orders paid and not cancelled since; ties by product id")
def top_selling() -> str:
    return """
        WITH sold AS (
            SELECT product_id, sum(units) AS units_sold, sum(revenue) AS revenue FROM catalog_dailysales
            WHERE date >= %(from_date)s AND date < %(to_date)s GROUP BY product_id HAVING sum(units) > 0
            ORDER BY 2 DESC, 1 LIMIT %(limit)s
        )
        SELECT row_number() OVER (ORDER BY units_sold DESC, product_id) AS rank, product_id, sku, name, category,
               units_sold, revenue, available AS stock
        FROM sold JOIN catalog_product p ON p.id = product_id LEFT JOIN catalog_stock USING (product_id) ORDER BY rank
    """
