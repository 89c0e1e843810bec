"""What can happen to an order: it is placed, settled by the pipeline's stages, or cancelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings

import balance.operations as balance
import catalog.operations as catalog
import coupons.operations as coupons
from balance.operations import LockedWallet, Movement
from catalog.operations import Sale, Taking
from catalog.queries import get_offers
from coupons.discounts import discount
from coupons.places import is_claim_of
from coupons.queries import check_usable
from orders import allocation, operations, pricing, queries
from orders.allocation import Claimed
from orders.errors import ISSUANCE_NOT_USABLE, OrderNotCancellable, OrderNotFound
from orders.pricing import LineRequest
from orders.queries import CLAIM_WAIT
from orders.states import Status
from shop import db, idempotency, pipeline, trail, wakeups
from shop.errors import DependencyUnavailable, InvalidToken
from shop.idempotency import Key
from shop.trail import Act

RESERVE_STOCK, REDEEM_COUPONS, TAKE_PAYMENTS, RELEASE = (
    "orders.reserve_stock",
    "orders.redeem_coupons",
    "orders.take_payments",
    "orders.release",
)

USER_EXISTS = "orders_order_user_id_e9b59eb1_fk_shop_user_id"


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """An order the shop has taken on; `subtotal` in minor units."""

    order_id: int
    status: str
    subtotal: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CancelledOrder:
    """An order that has been cancelled and given back."""

    order_id: int


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a customer asks for: 1..50 lines with distinct products, perhaps a coupon of theirs."""

    user_id: int
    lines: Sequence[LineRequest]
    issuance_id: int | None
    request_id: str = ""


def place_order(*, request: OrderRequest, key: Key | None, now: datetime) -> AcceptedOrder:
    """
    Accept an order at the prices of this moment and leave it pending; the pipeline settles it.

    Units: money in minor units (int); quantity in pieces, 1..1,000.
    Transaction: opens one; without a key the order is one statement.  Locks: the idempotency key; no hot row.
    Repeats: the same key returns the first answer; without one each call places an order.
    Raises: ProductNotFound, IssuanceNotUsable, InvalidToken (it outlived its user), IdempotencyKeyReused,
        IdempotencyKeyInFlight, DependencyUnavailable.
    Source: API.md "Orders"; DESIGN.md "The order pipeline".
    """
    user_id, issuance_id = request.user_id, request.issuance_id
    # A claim still at the gate may be spent: asked before the transaction, because it asks Redis.
    is_claim, silence = _look_at_gate(issuance_id=issuance_id, user_id=user_id)
    gone = db.constraint_errors({USER_EXISTS: InvalidToken})  # deferred: it surfaces at COMMIT
    with (
        gone,
        db.transaction("orders.place_order", [user_id], single=key is None),
        idempotency.once(key, AcceptedOrder, now=now) as slot,
    ):
        if slot.fresh:  # a replay answers even if the product has gone since, or Redis is away
            if silence is not None:
                raise silence
            lines = pricing.price(request.lines, get_offers([line.product_id for line in request.lines]))
            if issuance_id is not None and not is_claim:
                check_usable(issuance_id=issuance_id, user_id=user_id, now=now)
            order_id = operations.insert_order(
                user_id=user_id, lines=lines, issuance_id=issuance_id, request_id=request.request_id, now=now
            )
            db.run_after_commit(partial(wakeups.wake, RESERVE_STOCK))
            slot.finish(_accepted(order_id, pricing.subtotal(lines), now))
    return slot.answer()


def _look_at_gate(*, issuance_id: int | None, user_id: int) -> tuple[bool, DependencyUnavailable | None]:
    """Say whether an order's coupon is a claim still at the gate, or that it could not be found out."""
    try:
        return issuance_id is not None and is_claim_of(issuance_id=issuance_id, user_id=user_id), None
    except DependencyUnavailable as silence:
        return False, silence


def _accepted(order_id: int, subtotal: int, now: datetime) -> AcceptedOrder:
    return AcceptedOrder(order_id, Status.PENDING.value, subtotal, settings.SHOP_CURRENCY, now)


def reserve_stock(*, claim: pipeline.Claim, now: datetime) -> None:
    """
    Reserve stock for the next accepted orders, first come, first served; who has no coupon is then up for payment.

    Shapes: claim.limit 1..500.  Units: quantity in pieces.
    Transaction: opens one.  Locks: the stage, Order (skip locked), Stock by id (see Note [Lock order]).
    Repeats: harmless; a reserved order is no longer pending.
    Source: DESIGN.md "The order pipeline".
    """
    with db.transaction(RESERVE_STOCK, claim.taken):
        orders = operations.with_lines(operations.claim_orders(RESERVE_STOCK, Status.PENDING, claim))
        stock = catalog.lock_stock(line.product_id for order in orders for line in order.lines)
        available = {product_id: row.available for product_id, row in stock.items()}
        decision = allocation.allocate_stock(orders, available)
        catalog.take_stock(_takings(decision.granted), stock, now=now)
        queuing = queries.users_at_redemption(order.user_id for order in decision.granted)
        plain, to_redeem = allocation.split_by_coupon(decision.granted, queuing)
        operations.advance(operations.ids_of(to_redeem), to=Status.STOCK_RESERVED, now=now)
        # At 150 orders a second this saves the worker a fifth of its CPU (docs/decisions/0017).
        operations.advance(operations.ids_of(plain), to=Status.COUPON_APPLIED, through=Status.STOCK_RESERVED, now=now)
        operations.fail(decision.refused, now=now)


def redeem_coupons(*, claim: pipeline.Claim, now: datetime) -> None:
    """
    Spend the coupons of the next reserved orders and set their discounts.

    An order without a coupon is here only behind one with a coupon of the same user, and just moves on.

    Shapes: claim.limit 1..500.  Units: money in minor units.
    Transaction: opens one.  Locks: the stage, Order (skip locked), Issuance by id.
    Repeats: harmless; a redeemed order is no longer reserved only.
    Source: DESIGN.md "The order pipeline".
    """
    with db.transaction(REDEEM_COUPONS, claim.taken):
        orders = operations.claim_orders(REDEEM_COUPONS, Status.STOCK_RESERVED, claim)
        held = coupons.lock_issuances(order.issuance_id for order in orders if order.issuance_id is not None)
        orders, waiting = _split_by_claim(orders, held)
        claim.put_off.extend(operations.ids_of(waiting))
        discounts = _usable_discounts(orders, held, now=now)
        refused = {
            order.order_id: ISSUANCE_NOT_USABLE
            for order in orders
            if order.issuance_id is not None and order.order_id not in discounts
        }
        granted = [order for order in orders if order.order_id not in refused]
        coupons.redeem([(order.issuance_id, order.order_id) for order in granted if order.issuance_id], now=now)
        operations.apply_discounts(discounts)
        operations.advance(operations.ids_of(granted), to=Status.COUPON_APPLIED, now=now)
        _refuse(refused)


def _split_by_claim(
    orders: Sequence[Claimed], held: Mapping[int, coupons.LockedIssuance]
) -> tuple[list[Claimed], list[Claimed]]:
    """Split off orders whose coupon is still on its way from the gate; for a time only, the gate may have lost it."""
    absent = [order for order in orders if order.issuance_id is not None and order.issuance_id not in held]
    if not absent:
        return list(orders), []
    oldest = db.clock() - CLAIM_WAIT  # by the worker's own clock, one ahead of time would wait for nobody (F48)
    waiting = [order for order in absent if order.created_at is not None and order.created_at > oldest]
    waiting_ids = set(operations.ids_of(waiting))
    return [order for order in orders if order.order_id not in waiting_ids], waiting


def _usable_discounts(
    orders: Sequence[Claimed], held: Mapping[int, coupons.LockedIssuance], *, now: datetime
) -> dict[int, int]:
    """Return the discount of each order whose coupon is usable; a coupon goes to the first order that names it."""
    discounts, spent = {}, set()
    for order in orders:
        issuance = held.get(order.issuance_id) if order.issuance_id is not None else None
        if issuance is None or issuance.issuance_id in spent or not issuance.is_usable(user_id=order.user_id, now=now):
            continue
        off = discount(issuance.terms, order.subtotal)
        if off is not None:
            discounts[order.order_id] = off
            spent.add(issuance.issuance_id)
    return discounts


def take_payments(*, claim: pipeline.Claim, now: datetime) -> None:
    """
    Take the totals of the next orders from their users' wallets, first come, first served.

    Shapes: claim.limit 1..500.  Units: money in minor units.
    Transaction: opens one.  Locks: the stage, Order (skip locked), Wallet by id, DailySales by key.
    Repeats: harmless; a paid order is settled, and `transfer_once_per_effect` refuses a second payment.
    Source: DESIGN.md "The order pipeline".
    """
    with db.transaction(TAKE_PAYMENTS, claim.taken):
        orders = operations.with_lines(operations.claim_orders(TAKE_PAYMENTS, Status.COUPON_APPLIED, claim))
        wallets = balance.lock_wallets(order.user_id for order in orders)
        balances = {user_id: wallet.balance for user_id, wallet in wallets.items()}
        decision, after = allocation.allocate_funds(orders, balances)
        balance.record_payments(_payments(decision.granted, wallets, after), now=now)
        operations.advance(operations.ids_of(decision.granted), to=Status.PAID, now=now)
        _refuse(decision.refused)
        catalog.record_sales(_sales(decision.granted), date=_day(now))


def _payments(
    orders: Sequence[Claimed], wallets: Mapping[int, LockedWallet], after: Mapping[int, int]
) -> list[Movement]:
    """Return a movement per order that costs something, in acceptance order."""
    return [
        Movement(order.order_id, wallets[order.user_id], order.total, after[order.order_id])
        for order in orders
        if order.total > 0
    ]


def _refuse(refused: Mapping[int, str]) -> None:
    """Hand orders over to `release`, which gives back what they hold and fails them."""
    operations.refuse(refused)
    if refused:
        db.run_after_commit(partial(wakeups.wake, RELEASE))


def release(*, claim: pipeline.Claim, now: datetime) -> None:
    """
    Give back what refused orders hold, and fail them in the same transaction.

    Shapes: claim.limit 1..500.
    Transaction: opens one.  Locks: the stage, Order (skip locked), Issuance by id, Stock by id.
    Repeats: harmless; a failed order is settled.
    Source: DESIGN.md "The order pipeline".
    """
    with db.transaction(RELEASE, claim.taken):
        orders = operations.with_lines(operations.claim_orders(RELEASE, None, claim))
        coupons.give_back(_uses([order for order in orders if order.status == Status.COUPON_APPLIED]), now=now)
        catalog.give_stock_back(_takings(orders), now=now)
        operations.fail({order.order_id: order.refusal for order in orders}, now=now)


def cancel_order(
    *, order_id: int, user_id: int | None, reason: str, key: Key | None, now: datetime, operator_id: int | None = None
) -> CancelledOrder:
    """
    Cancel a paid order: money, stock and coupon go back in one transaction.

    Shapes: user_id None acts for the shop (`operator_id` says who does), else the order must be this user's.
    Transaction: opens one.  Locks: the idempotency key, Order, Wallet, Issuance, Stock by id, DailySales by key.
    Repeats: the same key returns the first answer; without one the second call is refused.
    Raises: OrderNotFound, OrderNotCancellable, NotAllowed, IdempotencyKeyReused, IdempotencyKeyInFlight.
    Source: API.md "Orders".
    """
    with db.transaction("orders.cancel_order", [order_id]), idempotency.once(key, CancelledOrder, now=now) as slot:
        if slot.fresh:
            order = _lock_paid(order_id, user_id=user_id)
            _give_everything_back(order, now=now)
            operations.advance([order_id], to=Status.CANCELLED, now=now, reason=reason)
            if operator_id is not None:
                act = Act("orders.cancel", "orders.order", order_id, reason, amount=order.total)
                trail.record(act, operator_id=operator_id, now=now)
            slot.finish(CancelledOrder(order_id))
    return slot.answer()


def _lock_paid(order_id: int, *, user_id: int | None) -> Claimed:
    """
    Lock an order that is paid. Raises OrderNotFound, OrderNotCancellable.

    Looked at first: the stages pass over locked orders, and one that still waits for stock would lose its turn for the
    question. One that may be being paid is waited for.
    """
    status = queries.get_status(order_id, user_id=user_id)
    may_be_paid = status in (Status.COUPON_APPLIED, Status.PAID)
    order = operations.lock_order(order_id, user_id=user_id) if may_be_paid else None
    if status is None:
        raise OrderNotFound
    if order is None or order.status != Status.PAID:
        raise OrderNotCancellable
    return order


def _give_everything_back(claimed: Claimed, *, now: datetime) -> None:
    """Refund a paid order, return its coupon and its stock, and take it out of the sales of the day it was paid."""
    (order,) = operations.with_lines([claimed])
    if order.total > 0:  # who owes nothing may have no wallet
        wallet = balance.lock_wallets([order.user_id])[order.user_id]
        refund = Movement(order.order_id, wallet, order.total, wallet.balance + order.total)
        balance.record_refunds([refund], now=now)
    coupons.give_back(_uses([order]), now=now)
    catalog.give_stock_back(_takings([order]), now=now)
    catalog.withdraw_sales(_sales([order]), date=_day(queries.get_settled_at(order.order_id)))


def _uses(orders: Iterable[Claimed]) -> list[tuple[int, int]]:
    return [(order.issuance_id, order.order_id) for order in orders if order.issuance_id is not None]


def _takings(orders: Iterable[Claimed]) -> list[Taking]:
    return [Taking(order.order_id, line.product_id, line.quantity) for order in orders for line in order.lines]


def _sales(orders: Iterable[Claimed]) -> list[Sale]:
    return [Sale(line.product_id, line.quantity, line.amount) for order in orders for line in order.lines]


def _day(paid_at: datetime) -> date:
    """Return the day of the shop's calendar."""
    return paid_at.astimezone(ZoneInfo(settings.SHOP_TIME_ZONE)).date()
