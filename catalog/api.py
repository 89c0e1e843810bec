"""The catalogue over HTTP: public, cached, ready bytes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from catalog import queries
from shop import cursors, representations
from shop.endpoint import Endpoint
from shop.errors import InvalidInput, PageTooDeep
from shop.inputs import BIGINT_MAX, Choice, Number, Words, read_query

WINDOW_DAYS, TOP_LIMIT = 3, 5  # API.md "Catalog": top-selling
MAX_AGE_SECONDS = {"list": 1, "product": 1, "top-selling": 1}
LIST_PARAMETERS = {
    **cursors.PAGE_PARAMETERS,
    "page": Number(1, BIGINT_MAX),
    "sort": Choice(tuple(queries.SORTS), "newest"),
    "category": Words(60),
    "min_price": Number(0, BIGINT_MAX),
    "max_price": Number(0, BIGINT_MAX),
    "q": Words(200),
}


class PublicRead(Endpoint):
    """An address everybody may read and keep for a moment."""

    authentication_classes = []


def canonical(query: Mapping[str, Any]) -> str:
    """Return the one spelling of a query: known parameters only, in one order, without defaults."""
    return urlencode({name: value for name, value in sorted(query.items()) if value is not None})


class ListProducts(PublicRead):
    """Products on offer, by keyset cursor or numbered page."""

    def get(self, request: HttpRequest) -> HttpResponse:
        query = read_query(request, LIST_PARAMETERS)
        self._check_together(query)
        url = request.build_absolute_uri("/products")
        key = f"{url}?{canonical(query)}"
        found = representations.get(key, lambda: self._make(url, query))
        return representations.respond(request, found, max_age=MAX_AGE_SECONDS["list"])

    def _check_together(self, query: dict[str, Any]) -> None:
        """Refuse parameters that contradict each other. Raises InvalidInput, PageTooDeep."""
        if query["page"] is not None and query["cursor"] is not None:
            detail = _("Give a page or a cursor, not both.")
            raise InvalidInput(errors=[{"pointer": "?page", "code": "with_cursor", "detail": detail}])
        low, high = query["min_price"], query["max_price"]
        if low is not None and high is not None and low > high:
            detail = _("Must not be above max_price.")
            raise InvalidInput(errors=[{"pointer": "?min_price", "code": "empty_range", "detail": detail}])
        if query["page"] is not None and query["page"] * query["size"] > queries.NUMBERED_ROWS:
            raise PageTooDeep

    def _make(self, url: str, query: dict[str, Any]) -> tuple[object, str]:
        wanted = queries.Filter(
            sort=query["sort"],
            category=query["category"],
            min_price=query["min_price"],
            max_price=query["max_price"],
            words=query["q"],
        )
        filters = {name: value for name, value in query.items() if name not in ("cursor", "page", "size")}
        scope = f"products?{canonical(filters)}"  # a cursor of another sort or filter is refused
        position = cursors.decode(query["cursor"], scope) if query["cursor"] else None
        page = queries.list_products(wanted=wanted, size=query["size"], position=position, page=query["page"])
        return cursors.envelope(url, query, page, scope)


class ShowProduct(PublicRead):
    """One product on offer."""

    def get(self, request: HttpRequest, product_id: int) -> HttpResponse:
        key = f"product/{product_id}"
        found = representations.get(key, lambda: (queries.get_product(product_id=product_id), ""))
        return representations.respond(request, found, max_age=MAX_AGE_SECONDS["product"])


class TopSelling(PublicRead):
    """The five products with most units sold today and on the two days before, in the shop's time zone."""

    def get(self, request: HttpRequest) -> HttpResponse:
        found = representations.get("top-selling", self._make)
        return representations.respond(request, found, max_age=MAX_AGE_SECONDS["top-selling"])

    def _make(self) -> tuple[object, str]:
        now = timezone.now()
        today = now.astimezone(ZoneInfo(settings.SHOP_TIME_ZONE)).date()
        since = today - timedelta(days=WINDOW_DAYS - 1)
        results = queries.list_top_selling(since=since, until=today, limit=TOP_LIMIT)
        return {"window_days": WINDOW_DAYS, "as_of": now, "results": results}, ""
