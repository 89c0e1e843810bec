"""Orders over HTTP."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.translation import gettext

from orders import flows, queries
from orders.errors import FAILURES
from orders.pricing import LineRequest
from orders.states import Status
from shop import cursors, problems, throttle
from shop.endpoint import Endpoint, accepted, private
from shop.inputs import BIGINT_MAX, EMPTY, Array, Choice, Integer, Nullable, Object, read_body, read_query

MAX_ITEMS, MAX_QUANTITY = 50, 1_000  # API.md "Orders"
ITEM = Object(product_id=Integer(1, BIGINT_MAX), quantity=Integer(1, MAX_QUANTITY))
ORDER = Object(
    items=Array(ITEM, 1, MAX_ITEMS, distinct_by="product_id"),
    optional={"issuance_id": Nullable(Integer(1, BIGINT_MAX))},
)
LIST_PARAMETERS = {**cursors.PAGE_PARAMETERS, "status": Choice(tuple(Status.values))}
ORDERS_SCOPE = "orders"


def with_failure_worded(order: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
    """Return an order with its failure explained in the caller's language."""
    code = order["failure"]
    if code is None:
        return order
    with translation.override(problems.language_of(request)):
        return order | {"failure": {"code": code, "detail": gettext(FAILURES.get(code, code))}}


class Orders(Endpoint):
    """The caller's orders: place one, list them."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Accept an order; the pipeline settles it."""
        throttle.take(throttle.ORDERS, self.caller.user_id)
        body = read_body(request, ORDER)
        key = self.read_key(request, "orders", body)
        wanted = flows.OrderRequest(
            user_id=self.caller.user_id,
            lines=[LineRequest(item["product_id"], item["quantity"]) for item in body["items"]],
            issuance_id=body["issuance_id"],
            request_id=getattr(request, "request_id", ""),
        )
        placed = flows.place_order(request=wanted, key=key, now=timezone.now())
        return accepted(placed, location=f"/orders/{placed.order_id}")

    def get(self, request: HttpRequest) -> HttpResponse:
        """List the caller's orders, newest first."""
        query = read_query(request, LIST_PARAMETERS)
        scope = f"{ORDERS_SCOPE}?{query['status']}"
        position = cursors.decode(query["cursor"], scope) if query["cursor"] else None
        page = queries.list_orders(
            user_id=self.caller.user_id, status=query["status"], size=query["size"], position=position
        )
        page.rows[:] = [with_failure_worded(row, request) for row in page.rows]
        return cursors.listed(request, query, page, scope)


class ShowOrder(Endpoint):
    """One of the caller's orders, with every step it took."""

    def get(self, request: HttpRequest, order_id: int) -> HttpResponse:
        order = queries.get_order(order_id=order_id, user_id=self.caller.user_id)
        return private(with_failure_worded(order, request))


class CancelOrder(Endpoint):
    """Cancel a paid order: money, stock and coupon are given back."""

    def post(self, request: HttpRequest, order_id: int) -> HttpResponse:
        key = self.read_key(request, f"orders/{order_id}/cancel", read_body(request, EMPTY))
        user_id = self.caller.user_id
        flows.cancel_order(order_id=order_id, user_id=user_id, reason="", key=key, now=timezone.now())
        order = queries.get_order(order_id=order_id, user_id=user_id)
        return private(with_failure_worded(order, request))
