"""Changes of orders. Each requires a transaction; the flow that calls opens it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from orders import queries
from orders.allocation import Claimed, WantedLine
from orders.models import Order
from orders.pricing import PricedLine, subtotal
from orders.states import SETTLED, Status, sources
from shop import db, pipeline

CLAIMED = ("id", "user_id", "subtotal", "total", "issuance_id", "status", "refusal", "created_at")


@db.transaction_required
def insert_order(
    *, user_id: int, lines: Sequence[PricedLine], issuance_id: int | None, request_id: str, now: datetime
) -> int:
    """
    Write a pending order with its lines and first step, in one statement; return its id.

    Units: money in minor units.
    Transaction: requires one.  Locks: none that anybody waits for.
    """
    found = db.rows(
        """
        WITH placed AS (
            INSERT INTO orders_order (user_id, status, subtotal, discount, total, issuance_id, refusal, failure_code,
                                      request_id, created_at)
            VALUES (%(user)s, 'pending', %(subtotal)s, 0, %(subtotal)s, %(issuance)s, '', '', %(request)s, %(now)s)
            RETURNING id
        ), lines AS (
            INSERT INTO orders_orderline (order_id, product_id, product_name, unit_price, quantity)
            SELECT placed.id, given.* FROM placed,
                unnest(%(products)s::bigint[], %(names)s::text[], %(prices)s::bigint[], %(quantities)s::int[]) AS given
        )
        INSERT INTO orders_orderhistory (order_id, status, at, reason) SELECT id, 'pending', %(now)s, '' FROM placed
        RETURNING order_id
        """,
        {
            "user": user_id,
            "subtotal": subtotal(lines),
            "issuance": issuance_id,
            "request": request_id,
            "now": now,
            "products": db.array(line.product_id for line in lines),
            "names": [line.name for line in lines],
            "prices": db.array(line.unit_price for line in lines),
            "quantities": db.array(line.quantity for line in lines),
        },
        prepared=True,
    )
    return int(found[0][0])


@db.transaction_required
def claim_orders(stage: str, stage_status: Status | None, claim: pipeline.Claim) -> list[Claimed]:
    """
    Claim the next orders of a stage in acceptance order and note them in `claim.taken`.

    Transaction: requires one.  Locks: the stage, then Order by id, skipping rows that others hold.
    Several batches of one stage cannot interleave: see `pipeline.lock_stage`.
    """
    pipeline.lock_stage(stage)
    rows = db.rows(
        f"""
        SELECT id, user_id, subtotal, total, issuance_id, status, refusal,
               CASE WHEN issuance_id IS NOT NULL THEN created_at END
        {queries.waiting(stage_status)} LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        """,
        {"skip": db.array(claim.skip), "limit": claim.limit},
    )
    orders = [Claimed(*row) for row in rows]
    claim.taken.extend(order.order_id for order in orders)
    return orders


@db.transaction_required
def lock_order(order_id: int, *, user_id: int | None) -> Claimed | None:
    """Lock one order, of one user if given. Transaction: requires one.  Locks: Order."""
    rows = Order.objects.filter(pk=order_id) if user_id is None else Order.objects.filter(pk=order_id, user_id=user_id)
    row = rows.select_for_update(no_key=True).values_list(*CLAIMED).first()
    return None if row is None else Claimed(*row)


def with_lines(orders: Sequence[Claimed]) -> list[Claimed]:
    """Return the claimed orders with their lines, read in one statement. Lines never change."""
    lines: dict[int, list[WantedLine]] = {order.order_id: [] for order in orders}
    for order_id, *line in queries.list_lines(lines):
        lines[order_id].append(WantedLine(*line))
    return [order._replace(lines=tuple(lines[order.order_id])) for order in orders]


@db.transaction_required
def advance(
    order_ids: Collection[int], *, to: Status, now: datetime, reason: str = "", through: Status | None = None
) -> None:
    """
    Walk one edge of EDGES for many orders, or two with `through` between them; write each step into their histories.

    Nothing else assigns a status but `fail`.
    Transaction: requires one, which has locked the orders.
    Raises: RuntimeError when an order is not at the edge's beginning, or there is no such edge.
    """
    if not order_ids:
        return
    steps = [to] if through is None else [through, to]
    if through is not None and through not in sources(to):
        raise RuntimeError(f"no order goes from {through} to {to}")
    written = db.rows(
        """
        WITH moved AS (
            UPDATE orders_order SET status = %(to)s, settled_at = CASE WHEN %(settled)s THEN %(now)s::timestamptz END
            WHERE id = ANY(%(ids)s::bigint[]) AND status = ANY(%(sources)s) RETURNING id
        )
        INSERT INTO orders_orderhistory (order_id, status, at, reason)
        SELECT id, step.status, %(now)s, %(reason)s
        FROM moved, unnest(%(steps)s::text[]) WITH ORDINALITY AS step (status, place) ORDER BY id, place
        RETURNING order_id
        """,
        {
            "to": to.value,
            "steps": [step.value for step in steps],
            "settled": to in SETTLED,
            "now": now,
            "reason": reason,
            "ids": db.array(order_ids),
            "sources": [source.value for source in sources(steps[0])],
        },
    )
    moved = len(written) // len(steps)
    if moved != len(order_ids):
        raise RuntimeError(f"{len(order_ids) - moved} of {len(order_ids)} orders cannot become {to}")


@db.transaction_required
def fail(refused: Mapping[int, str], *, now: datetime) -> None:
    """
    Fail locked orders that hold nothing (any more), each with its failure code.

    Transaction: requires one, which has locked the orders.
    """
    if not refused:
        return
    failed = db.rows(
        """
        WITH given AS (SELECT * FROM unnest(%(ids)s::bigint[], %(codes)s::text[]) AS given (id, code)), moved AS (
            UPDATE orders_order SET status = 'failed', failure_code = given.code, refusal = '', settled_at = %(now)s
            FROM given WHERE orders_order.id = given.id AND status = ANY(%(sources)s)
            RETURNING orders_order.id, given.code
        )
        INSERT INTO orders_orderhistory (order_id, status, at, reason)
        SELECT id, 'failed', %(now)s, code FROM moved ORDER BY id RETURNING order_id
        """,
        {
            "ids": db.array(refused),
            "codes": list(refused.values()),
            "now": now,
            "sources": [source.value for source in sources(Status.FAILED)],
        },
    )
    if len(failed) != len(refused):
        raise RuntimeError(f"{len(refused) - len(failed)} of {len(refused)} orders cannot fail")


@db.transaction_required
def refuse(refused: Mapping[int, str]) -> None:
    """
    Mark locked orders whose takings `release` must give back before they fail with these codes.

    Transaction: requires one, which has locked the orders.
    """
    if refused:
        db.rows(
            """
            UPDATE orders_order SET refusal = given.code
            FROM unnest(%(ids)s::bigint[], %(codes)s::text[]) AS given (id, code) WHERE orders_order.id = given.id
            """,
            {"ids": db.array(refused), "codes": list(refused.values())},
        )


@db.transaction_required
def apply_discounts(discounts: Mapping[int, int]) -> None:
    """
    Set the discount of locked orders. Units: minor units.

    Transaction: requires one, which has locked the orders.
    """
    if discounts:
        db.rows(
            """
            UPDATE orders_order SET discount = given.discount, total = subtotal - given.discount
            FROM unnest(%(ids)s::bigint[], %(discounts)s::bigint[]) AS given (id, discount)
            WHERE orders_order.id = given.id
            """,
            {"ids": db.array(discounts), "discounts": db.array(discounts.values())},
        )


def ids_of(orders: Iterable[Claimed]) -> list[int]:
    """Return the ids of these orders."""
    return [order.order_id for order in orders]
