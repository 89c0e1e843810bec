"""Reads of orders; they change nothing."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

import coupons.queries as coupons
from orders.errors import OrderNotFound
from orders.models import Order, OrderHistory, OrderLine
from orders.states import UNSETTLED, Status
from shop import admission, cursors, db

STORED = (
    "pk",
    "status",
    "failure_code",
    "subtotal",
    "discount",
    "total",
    "issuance_id",
    "created_at",
    "settled_at",
)


CLAIM_WAIT = timedelta(seconds=30)  # how long an order waits for its coupon to arrive from the gate (FAULTS.md P15)
OLDEST_WAITING = """(
    SELECT created_at FROM orders_order
    WHERE status = '{status}'
      AND NOT EXISTS (SELECT FROM shop_parkeditem WHERE item_id = orders_order.id AND starts_with(stage, 'orders.'))
      {but}
    ORDER BY id LIMIT 1
)"""
# Who waits for a coupon on purpose is no backlog; after that time it is as late as any other.
BUT_FOR_COUPONS = f"""AND (
    issuance_id IS NULL OR {coupons.IS_RECORDED.format("issuance_id")}
    OR created_at < clock_timestamp() - interval '{CLAIM_WAIT.seconds + admission.BACKLOG_SECONDS:.0f} s'
)"""
OLDEST_UNSETTLED = "SELECT extract(epoch FROM clock_timestamp() - least({}))::float8".format(  # noqa: S608 - words of our own
    ", ".join(
        OLDEST_WAITING.format(status=status, but=BUT_FOR_COUPONS if status == Status.STOCK_RESERVED else "")
        for status in UNSETTLED
    )
)


@admission.backlog(admission.Worth.ORDER)
def oldest_unsettled_seconds() -> float:
    """Return the age of the oldest order still to be settled, but for those set aside and those that await a coupon."""
    return db.rows(OLDEST_UNSETTLED)[0][0] or 0.0


def get_status(order_id: int, *, user_id: int | None) -> str | None:
    """Return an order's status, of one user's if given; None if there is no such order."""
    rows = Order.objects.filter(pk=order_id) if user_id is None else Order.objects.filter(pk=order_id, user_id=user_id)
    return rows.values_list("status", flat=True).first()


def get_settled_at(order_id: int) -> datetime:
    """Return when a settled order was settled."""
    settled_at = Order.objects.values_list("settled_at", flat=True).get(pk=order_id)
    if settled_at is None:
        raise RuntimeError(f"order {order_id} is not settled")
    return settled_at


def get_order(*, order_id: int, user_id: int) -> dict[str, Any]:
    """
    Return a user's order as API.md "Orders" shows it; `failure` is its code, worded by the caller.

    Raises: OrderNotFound, also for somebody else's.
    """
    row = Order.objects.filter(pk=order_id, user_id=user_id).values(*STORED).first()
    if row is None:
        raise OrderNotFound
    return _shown([row])[0]


def list_orders(*, user_id: int, status: str | None, size: int, position: cursors.Position | None) -> cursors.Page:
    """Return a page of a user's orders, newest first. Shapes: size 1..100."""
    rows = Order.objects.filter(user_id=user_id)
    if status is not None:
        rows = rows.filter(status=status)
    if position is None:
        rows = rows.order_by("-pk")
    elif position.backward:
        rows = rows.filter(pk__gt=position.row_id).order_by("pk")
    else:
        rows = rows.filter(pk__lt=position.row_id).order_by("-pk")
    found = list(rows.values(*STORED)[: size + 1])
    keys = [(row["pk"], row["pk"]) for row in found]
    cut = cursors.cut(found, keys, size=size, position=position)
    return cursors.Page(rows=_shown(cut.rows), first=cut.first, last=cut.last)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return orders with lines and history: two statements however many orders."""
    ids = [row["pk"] for row in rows]
    lines = _grouped(
        OrderLine.objects.filter(order_id__in=ids)
        .order_by("pk")
        .values_list("order_id", "product_id", "product_name", "unit_price", "quantity"),
        ("product_id", "name", "unit_price", "quantity"),
    )
    history = _grouped(
        OrderHistory.objects.filter(order_id__in=ids).order_by("pk").values_list("order_id", "status", "at", "reason"),
        ("status", "at", "reason"),
    )
    for line in (line for group in lines.values() for line in group):
        line["amount"] = line["unit_price"] * line["quantity"]
    return [_order(row, lines.get(row["pk"], []), history.get(row["pk"], [])) for row in rows]


def _grouped(rows: Iterable[tuple[Any, ...]], names: tuple[str, ...]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for order_id, *values in rows:
        groups.setdefault(order_id, []).append(dict(zip(names, values, strict=True)))
    return groups


def _order(row: dict[str, Any], lines: list[dict[str, Any]], history: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "order_id": row["pk"],
        "status": row["status"],
        "failure": row["failure_code"] or None,
        "items": lines,
        "subtotal": row["subtotal"],
        "discount": row["discount"],
        "total": row["total"],
        "currency": settings.SHOP_CURRENCY,
        "issuance_id": row["issuance_id"],
        "created_at": row["created_at"],
        "settled_at": row["settled_at"],
        "history": history,
    }


def waiting(status: Status | None) -> str:
    """Return which orders a stage may claim, as the rest of a statement: WHERE, ORDER; None stands for `release`."""
    if status is None:
        condition = f"status IN ({', '.join(repr(state.value) for state in UNSETTLED)}) AND refusal <> ''"
    else:
        condition = f"status = {status.value!r} AND refusal = ''"
    return f"FROM orders_order WHERE {condition} AND id <> ALL(%(skip)s::bigint[]) ORDER BY id"


def first_waiting(status: Status | None, *, skip: list[int]) -> int | None:
    """Return the order a stage would claim first; `status` None stands for `release`."""
    found = db.rows(f"SELECT id {waiting(status)} LIMIT 1", {"skip": db.array(skip)})
    return found[0][0] if found else None


def users_at_redemption(user_ids: Iterable[int]) -> list[int]:
    """Return those of these users who have an order that waits for `redeem_coupons`, each perhaps several times."""
    found = db.rows(
        """
        SELECT user_id FROM orders_order
        WHERE status = 'stock_reserved' AND refusal = '' AND user_id = ANY(%s::bigint[])
        """,
        [db.array(user_ids)],
    )
    return [user_id for (user_id,) in found]


def list_lines(order_ids: Iterable[int]) -> list[tuple[Any, ...]]:
    """Return the lines of these orders as (order id, product id, quantity, amount)."""
    return db.rows(
        """
        SELECT order_id, product_id, quantity, quantity * unit_price FROM orders_orderline
        WHERE order_id = ANY(%s::bigint[])
        """,
        [db.array(order_ids)],
    )


def is_any_unsettled() -> bool:
    """Say whether any order waits for the pipeline."""
    return Order.objects.filter(status__in=UNSETTLED).exists()


def count_orders_since(*, since: datetime, limit: int) -> int:
    """Count the newest orders down to a time, `limit` at most: ids follow the time, which has no index of its own."""
    found = db.rows(
        """
        SELECT count(*) FROM (SELECT created_at FROM orders_order ORDER BY id DESC LIMIT %s) AS newest
        WHERE created_at >= %s
        """,
        [limit, since],
    )
    return int(found[0][0])
