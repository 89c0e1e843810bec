"""Changes of stock and sales. Each requires a transaction; the flow that calls opens it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from catalog.errors import ProductNotFound
from shop import db


class Taking(NamedTuple):
    """Pieces of one product that one order takes or gives back."""

    order_id: int
    product_id: int
    quantity: int


class LockedStock(NamedTuple):
    """The pieces in a stock row this transaction has locked, and where it lies (Note [Places of locked rows])."""

    available: int
    place: str


class Sale(NamedTuple):
    """Pieces of one product that one order sold. `revenue` in minor units."""

    product_id: int
    units: int
    revenue: int


@db.transaction_required
def lock_stock(product_ids: Iterable[int]) -> dict[int, LockedStock]:
    """
    Lock the stock of these products, in key order, and return the rows of those still on offer by product.

    Transaction: requires one.  Locks: Stock by id.
    """
    # Looked up among the few hidden ones: reading each product took 25 µs in a shop of a million, buffers cold.
    rows = db.rows(
        """
        SELECT product_id, available, ctid FROM catalog_stock
        WHERE product_id = ANY(%(ids)s::bigint[]) AND product_id <> ALL (ARRAY(
            SELECT id FROM catalog_product WHERE is_hidden AND id = ANY(%(ids)s::bigint[])
        ))
        ORDER BY product_id FOR NO KEY UPDATE
        """,
        {"ids": db.array(set(product_ids))},
    )
    return {product_id: LockedStock(available, place) for product_id, available, place in rows}


@db.transaction_required
def take_stock(takings: Sequence[Taking], stock: Mapping[int, LockedStock], *, now: datetime) -> None:
    """
    Reserve pieces for orders.

    Shapes: stock holds the locked row of each product, which this transaction has not changed yet.
    Transaction: requires one, which has locked the stock rows and decided that they suffice.
    Repeats: refused by `movement_once_per_effect`.
    Raises: RuntimeError when a row is not where it was locked.
    """
    _move("reserve", -1, takings, stock, now=now)


@db.transaction_required
def give_stock_back(takings: Sequence[Taking], *, now: datetime) -> None:
    """Release what orders had reserved; else like `take_stock`. Transaction: requires one.  Locks: Stock by id."""
    # Not lock_stock: what is given back needs no decision and may be hidden, but rows are still locked in key order.
    rows = db.rows(
        """
        SELECT product_id, available, ctid FROM catalog_stock
        WHERE product_id = ANY(%s::bigint[]) ORDER BY product_id FOR NO KEY UPDATE
        """,
        [db.array({taking.product_id for taking in takings})],
    )
    stock = {product_id: LockedStock(available, place) for product_id, available, place in rows}
    _move("release", 1, takings, stock, now=now)


def _move(kind: str, sign: int, takings: Sequence[Taking], stock: Mapping[int, LockedStock], *, now: datetime) -> None:
    """Write one movement per taking and the sum of them into each stock row, in one statement."""
    if not takings:
        return
    totals: Counter[int] = Counter()
    for taking in takings:
        totals[taking.product_id] += sign * taking.quantity
    ((found,),) = db.rows(
        """
        WITH moved AS (
            INSERT INTO catalog_stockmovement (product_id, kind, delta, order_id, reason, created_at)
            SELECT product_id, %(kind)s, delta, order_id, '', %(now)s
            FROM unnest(%(orders)s::bigint[], %(products)s::bigint[], %(deltas)s::bigint[])
                 AS given (order_id, product_id, delta)
        ), changed AS (
            UPDATE catalog_stock SET available = available + total.delta
            FROM unnest(%(places)s::tid[], %(ids)s::bigint[], %(totals)s::bigint[]) AS total (place, product_id, delta)
            WHERE catalog_stock.ctid = total.place AND catalog_stock.product_id = total.product_id
            RETURNING 1
        )
        SELECT count(*) FROM changed
        """,
        {
            "kind": kind,
            "now": now,
            "orders": db.array(taking.order_id for taking in takings),
            "products": db.array(taking.product_id for taking in takings),
            "deltas": db.array(sign * taking.quantity for taking in takings),
            "places": db.places(stock[product_id].place for product_id in totals),
            "ids": db.array(totals),
            "totals": db.array(totals.values()),
        },
    )
    db.require_places(found, len(totals), "catalog_stock")


@db.transaction_required
def restock(*, product_id: int, quantity: int, reason: str, now: datetime) -> int:
    """
    Add pieces to a product's stock (or take away, when negative); return what is available then.

    Transaction: requires one.  Locks: Stock.
    Raises: ProductNotFound; IntegrityError `stock_available_not_negative` when more is taken than there is.
    """
    open_stock(product_id=product_id)
    found = db.rows(
        """
        WITH moved AS (
            UPDATE catalog_stock SET available = available + %(quantity)s WHERE product_id = %(product_id)s
            RETURNING product_id, available
        ), movement AS (
            INSERT INTO catalog_stockmovement (product_id, kind, delta, reason, created_at)
            SELECT product_id, 'restock', %(quantity)s, %(reason)s, %(now)s FROM moved
        )
        SELECT available FROM moved
        """,
        {"product_id": product_id, "quantity": quantity, "reason": reason, "now": now},
    )
    if not found:
        raise ProductNotFound
    return int(found[0][0])


@db.transaction_required
def open_stock(*, product_id: int) -> None:
    """Give a product its stock row with nothing in it, unless it has one. Transaction: requires one."""
    db.rows(
        "INSERT INTO catalog_stock (product_id, available) SELECT id, 0 FROM catalog_product WHERE id = %s "
        "ON CONFLICT (product_id) DO NOTHING",
        [product_id],
    )


@db.transaction_required
def record_sales(sales: Sequence[Sale], *, date: date) -> None:
    """
    Add units and revenue to each product's day, a date of the shop's calendar.

    Transaction: requires one.  Locks: DailySales by date and product, the last in Note [Lock order].
    """
    if not sales:
        return
    db.rows(
        """
        INSERT INTO catalog_dailysales (date, product_id, units, revenue)
        SELECT %(date)s::date, product_id, sum(units), sum(revenue)
        FROM unnest(%(products)s::bigint[], %(units)s::bigint[], %(revenues)s::bigint[])
             AS given (product_id, units, revenue)
        GROUP BY product_id ORDER BY product_id
        ON CONFLICT (date, product_id) DO UPDATE
        SET units = catalog_dailysales.units + excluded.units, revenue = catalog_dailysales.revenue + excluded.revenue
        """,
        _columns(sales, date),
    )


@db.transaction_required
def withdraw_sales(sales: Sequence[Sale], *, date: date) -> None:
    """Take a cancelled order's units out of their day again; else like `record_sales`. Transaction: requires one."""
    db.rows(
        """
        WITH given AS (
            SELECT * FROM unnest(%(products)s::bigint[], %(units)s::bigint[], %(revenues)s::bigint[])
                          AS given (product_id, units, revenue)
        ), locked AS MATERIALIZED (
            SELECT id, given.units, given.revenue FROM catalog_dailysales JOIN given USING (product_id)
            WHERE date = %(date)s ORDER BY product_id FOR NO KEY UPDATE OF catalog_dailysales
        )
        UPDATE catalog_dailysales
        SET units = catalog_dailysales.units - locked.units, revenue = catalog_dailysales.revenue - locked.revenue
        FROM locked WHERE catalog_dailysales.id = locked.id
        """,
        _columns(sales, date),
    )


def _columns(sales: Sequence[Sale], date: date) -> dict[str, object]:
    return {
        "date": date,
        "products": db.array(sale.product_id for sale in sales),
        "units": db.array(sale.units for sale in sales),
        "revenues": db.array(sale.revenue for sale in sales),
    }


@db.transaction_required
def refresh_popularity(*, since: date) -> int:
    """
    Set each product's popularity to its units sold since a day; return how many changed.

    Transaction: requires one.  Locks: Product rows that change.
    """
    found = db.rows(
        """
        WITH sold AS (
            SELECT product_id, sum(units) AS units FROM catalog_dailysales WHERE date >= %s GROUP BY product_id
        ), changed AS (
            UPDATE catalog_product SET popularity = COALESCE(sold.units, 0)
            FROM (SELECT id FROM catalog_product WHERE popularity > 0 UNION SELECT product_id FROM sold) AS due (id)
            LEFT JOIN sold ON sold.product_id = due.id
            WHERE catalog_product.id = due.id AND catalog_product.popularity <> COALESCE(sold.units, 0)
            RETURNING 1
        )
        SELECT count(*) FROM changed
        """,
        [since],
    )
    return int(found[0][0])
