"""How the catalogue looks in the OpenAPI document."""

from typing import Any

from catalog import api
from catalog.errors import ProductNotFound
from shop.errors import InvalidCursor, PageTooDeep
from shop.openapi import (
    COUNT,
    CURRENCY,
    ID,
    LIST_NOTES,
    MONEY,
    POSITIVE,
    TEXT,
    TIME,
    Operation,
    array,
    cached,
    describe,
    listing,
    one_of,
    record,
)

PRICE = MONEY | {"minimum": 0}
CARD: dict[str, Any] = {
    "id": ID,
    "sku": TEXT,
    "name": TEXT,
    "price": PRICE,
    "currency": CURRENCY,
    "stock": COUNT | {"description": "May be up to 5 s old; orders always see the newest."},
    "category": TEXT,
    "status": one_of(["on_sale", "sold_out"]),
    "image_url": TEXT,
}
SOLD = record(
    "Sold",
    rank={"type": "integer", "minimum": 1, "maximum": api.TOP_LIMIT},
    product_id=ID,
    name=TEXT,
    price=PRICE,
    units_sold=POSITIVE,
    revenue=COUNT,
)
TOP = record(
    "TopSelling",
    window_days={"const": api.WINDOW_DAYS},
    as_of=TIME,
    results=array(SOLD, maxItems=api.TOP_LIMIT),
)

describe(
    api.ListProducts,
    "get",
    Operation(
        name="list_products",
        tag="Catalog",
        query=api.LIST_PARAMETERS,
        notes=LIST_NOTES
        | {
            "page": "Numbered page, for the first 10,000 rows; not together with `cursor`.",
            "sort": "`popular` is by units sold.",
            "category": "Exactly this category.",
            "min_price": "Lowest price, inclusive.",
            "max_price": "Highest price, inclusive.",
            "q": "Part of the name, in any case.",
        },
        is_cached=True,
        answers=cached("A page of products.", listing("Products", record("ProductCard", **CARD)), listed=True),
        failures=(InvalidCursor, PageTooDeep),
    ),
)
describe(
    api.ShowProduct,
    "get",
    Operation(
        name="show_product",
        tag="Catalog",
        is_cached=True,
        answers=cached("The product.", record("Product", **CARD, description=TEXT, created_at=TIME)),
        failures=(ProductNotFound,),
    ),
)
describe(
    api.TopSelling,
    "get",
    Operation(name="top_selling", tag="Catalog", is_cached=True, answers=cached("At most five products.", TOP)),
)
