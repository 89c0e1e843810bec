"""Reads of the catalogue; they change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.conf import settings

from catalog.errors import ProductNotFound
from catalog.models import StockMovement
from shop import cursors, db

SORTS = {
    "newest": ("id", "DESC"),
    "price": ("price", "ASC"),
    "-price": ("price", "DESC"),
    "popular": ("popularity", "DESC"),
}
NUMBERED_ROWS = 10_000  # API.md "Catalog": how deep numbered pages go


@dataclass(frozen=True, slots=True)
class Offer:
    """A product as an order sees it at acceptance; `price` in minor units."""

    product_id: int
    name: str
    price: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What a customer looks for; prices in minor units, inclusive."""

    sort: str = "newest"
    category: str | None = None
    min_price: int | None = None
    max_price: int | None = None
    words: str | None = None

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        """Return the WHERE conditions and their parameters."""
        pattern = None
        if self.words is not None:
            pattern = "%" + self.words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        given = {
            "category = %(category)s": self.category,
            "price >= %(min_price)s": self.min_price,
            "price <= %(max_price)s": self.max_price,
            "name ILIKE %(pattern)s": pattern,
        }
        values = {
            "category": self.category,
            "min_price": self.min_price,
            "max_price": self.max_price,
            "pattern": pattern,
        }
        return ["NOT is_hidden", *(text for text, value in given.items() if value is not None)], values


def get_offers(product_ids: Sequence[int]) -> dict[int, Offer]:
    """Return the products on offer with these ids. Raises: ProductNotFound when one of them is not."""
    sql = "SELECT id, name, price FROM catalog_product WHERE id = ANY(%s::bigint[]) AND NOT is_hidden"
    rows = db.rows(sql, [db.array(product_ids)], prepared=True)
    offers = {product_id: Offer(product_id, name, price) for product_id, name, price in rows}
    if len(offers) < len(product_ids):
        raise ProductNotFound
    return offers


COLUMNS = "id, sku, name, price, available, category, image_url, description, created_at"


def _card(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a product as lists show it, from a row of COLUMNS."""
    product_id, sku, name, price, available, category, image_url, *_rest = row
    return {
        "id": product_id,
        "sku": sku,
        "name": name,
        "price": price,
        "currency": settings.SHOP_CURRENCY,
        "stock": available,
        "category": category,
        "status": "on_sale" if available > 0 else "sold_out",
        "image_url": image_url,
    }


def get_product(*, product_id: int) -> dict[str, Any]:
    """Return one product as API.md "Catalog" shows it. Raises: ProductNotFound, also for hidden ones."""
    found = db.rows(
        f"""
        SELECT {COLUMNS} FROM catalog_product JOIN catalog_stock ON product_id = id WHERE id = %s AND NOT is_hidden
        """,  # noqa: S608 - a constant of ours
        [product_id],
    )
    if not found:
        raise ProductNotFound
    return _card(found[0]) | {"description": found[0][7], "created_at": found[0][8]}


def list_products(
    *, wanted: Filter, size: int, position: cursors.Position | None = None, page: int | None = None
) -> cursors.Page:
    """
    Return a page of the products on offer, by keyset from `position` or by number.

    Shapes: size 1..100; page 1-based, its last row at most NUMBERED_ROWS.
    """
    column, direction = SORTS[wanted.sort]
    backward = position is not None and position.backward
    if backward:
        direction = "ASC" if direction == "DESC" else "DESC"
    conditions, values = wanted.conditions()
    if position is not None:
        comparison = ">" if direction == "ASC" else "<"
        conditions.append(f"({column}, id) {comparison} (%(key)s, %(row_id)s)")
        values |= {"key": position.key, "row_id": position.row_id}
    # The page is cut from the product table alone; stock is joined to its few rows afterwards.
    rows = db.rows(
        f"""
        WITH page AS (SELECT * FROM catalog_product WHERE {" AND ".join(conditions)}
                      ORDER BY {column} {direction}, id {direction} LIMIT %(limit)s OFFSET %(offset)s)
        SELECT {COLUMNS}, popularity FROM page JOIN catalog_stock ON product_id = id
        ORDER BY {column} {direction}, id {direction}
        """,  # noqa: S608 - column and direction come from SORTS, conditions from Filter
        values | {"limit": size + 1, "offset": ((page or 1) - 1) * size},
    )
    keys = [({"id": row[0], "price": row[3], "popularity": row[9]}[column], row[0]) for row in rows]
    cut = cursors.cut([_card(row) for row in rows], keys, size=size, position=position)
    if page is not None and page > 1 and keys:
        return cursors.Page(rows=cut.rows, first=cursors.Position(*keys[0], backward=True), last=cut.last)
    return cut


def list_top_selling(*, since: date, until: date, limit: int) -> list[dict[str, Any]]:
    """
    Return the products with most units sold on the days since..until (inclusive), ties by product id; no hidden ones.

    Units: revenue in minor units.  Source: API.md "Catalog".
    """
    rows = db.rows(
        """
        SELECT product_id, name, price, units, revenue FROM (
            SELECT product_id, sum(units)::bigint AS units, sum(revenue)::bigint AS revenue FROM catalog_dailysales
            WHERE date BETWEEN %(since)s AND %(until)s
              AND product_id <> ALL (ARRAY(SELECT id FROM catalog_product WHERE is_hidden))
            GROUP BY product_id
            HAVING sum(units) > 0 ORDER BY units DESC, product_id LIMIT %(limit)s
        ) AS sold JOIN catalog_product ON id = product_id ORDER BY units DESC, product_id
        """,
        {"since": since, "until": until, "limit": limit},
    )
    names = ("product_id", "name", "price", "units_sold", "revenue")
    return [{"rank": rank} | dict(zip(names, row, strict=True)) for rank, row in enumerate(rows, 1)]


def list_movements_of_order(*, order_id: int) -> list[StockMovement]:
    """Return what an order took from stock and gave back, in time."""
    return list(StockMovement.objects.filter(order_id=order_id).order_by("pk"))
