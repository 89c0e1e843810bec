"""What must hold between products, stock and movements; what ties them to orders stands in orders."""

from shop.invariants import append_only, invariant

append_only("catalog_stockmovement", "movement_append_only")


@invariant("S1", "available stock is the sum of its movements, and every product has a stock row")
def stock() -> str:
    return """
        WITH total AS (SELECT product_id, sum(delta) AS movements FROM catalog_stockmovement GROUP BY product_id)
        SELECT p.id AS product_id, available, coalesce(movements, 0) AS movements
        FROM catalog_product p
        LEFT JOIN catalog_stock s ON s.product_id = p.id LEFT JOIN total t ON t.product_id = p.id
        WHERE available IS DISTINCT FROM coalesce(movements, 0) ORDER BY p.id
    """
