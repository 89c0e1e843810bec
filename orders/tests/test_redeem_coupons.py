"""Redeeming coupons: one coupon, one order; what is refused is given back; what is on its way is waited for."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from config.tests.building import (
    assert_sound,
    claim,
    coupon_of,
    database_ahead,
    everything,
    make_campaign,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
    statuses,
    stock_of,
    violated,
)
from coupons import operations as coupons
from coupons.discounts import Terms
from coupons.models import Campaign, Issuance
from coupons.operations import LockedIssuance
from coupons.tasks import RECORD_CLAIMS
from orders import flows
from orders.models import Order
from orders.tasks import REDEEM_COUPONS, RELEASE, RESERVE_STOCK, TAKE_PAYMENTS
from shop import connections, db, pipeline
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def redeem(*, later=timedelta(0), limit=500):
    batch = pipeline.Claim(limit=limit)
    flows.redeem_coupons(claim=batch, now=timezone.now() + later)
    return batch


def test_coupon_is_spent_and_the_discount_is_set():
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    issuance_id = coupon_of(user_id, discount_type="percent", discount_value=15)
    order_id = place(user_id, (product_id, 3), issuance_id=issuance_id)
    run(RESERVE_STOCK, REDEEM_COUPONS)
    order, issuance = Order.objects.get(), Issuance.objects.get()
    assert (order.status, order.discount, order.total) == ("coupon_applied", 450, 2_550)
    assert (issuance.status, issuance.order_id, issuance.used_at is not None) == ("used", order_id, True)
    settle()
    assert_sound()


def test_order_without_coupon_behind_one_of_the_same_user_just_moves_on():
    user_id, product_id = make_user(), make_product(stock=5)
    order_ids = [place(user_id, (product_id, 1), issuance_id=coupon_of(user_id)), place(user_id, (product_id, 1))]
    run(RESERVE_STOCK)
    assert statuses(order_ids) == ["stock_reserved"] * 2
    assert run(REDEEM_COUPONS) == order_ids
    assert statuses(order_ids) == ["coupon_applied"] * 2
    assert [order.discount for order in Order.objects.order_by("pk")] == [500, 0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda issuance_id, user_id: Issuance.objects.filter(pk=issuance_id).update(user_id=make_user()),
        lambda issuance_id, user_id: Issuance.objects.filter(pk=issuance_id).update(expires_at=timezone.now()),
        lambda issuance_id, user_id: Issuance.objects.filter(pk=issuance_id).update(status="expired"),
        lambda issuance_id, user_id: Campaign.objects.update(min_order_amount=1_001),
    ],
    ids=["somebody else's", "past its time", "expired", "below the lowest amount"],
)
def test_coupon_that_became_unusable_refuses_the_order_and_everything_goes_back(spoil):
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    issuance_id = coupon_of(user_id)
    order_id = place(user_id, (product_id, 1), issuance_id=issuance_id)
    run(RESERVE_STOCK)
    spoil(issuance_id, user_id)
    before = Issuance.objects.values_list().get()
    redeem()
    order = Order.objects.get()
    assert (order.status, order.refusal, order.discount) == ("stock_reserved", "issuance_not_usable", 0)
    assert stock_of(product_id) == 4
    assert run(TAKE_PAYMENTS) == []
    run(RELEASE)
    assert (status(order_id), stock_of(product_id)) == ("issuance_not_usable", 5)
    assert Issuance.objects.values_list().get() == before


@pytest.mark.parametrize("limit", [1, 500])
def test_one_coupon_in_three_orders_goes_to_the_first(limit):
    user_id, product_id = make_user(balance=9_000), make_product(stock=9, price=1_000)
    issuance_id = coupon_of(user_id)
    order_ids = [place(user_id, (product_id, 1), issuance_id=issuance_id) for _ in range(3)]
    run(RESERVE_STOCK)
    while redeem(limit=limit).taken:
        pass
    settle()
    assert statuses(order_ids) == ["paid", "issuance_not_usable", "issuance_not_usable"]
    assert (stock_of(product_id), Issuance.objects.get().order_id) == (8, order_ids[0])
    assert_sound()


def test_coupon_given_back_by_a_failed_order_serves_the_next():
    user_id, product_id = make_user(balance=600), make_product(stock=9, price=1_000)
    issuance_id = coupon_of(user_id)
    first = place(user_id, (product_id, 2), issuance_id=issuance_id)  # 1,500 left to pay
    settle()
    assert (status(first), Issuance.objects.get().status) == ("insufficient_balance", "issued")
    second = place(user_id, (product_id, 1), issuance_id=issuance_id)
    settle()
    assert (status(second), Issuance.objects.get().order_id) == ("paid", second)
    assert_sound()


# --- a coupon still at the gate -------------------------------------------------------------------------------------


def order_with_a_pending_coupon():
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    order_id = place(user_id, (product_id, 1), issuance_id=claim(user_id, make_campaign()).issuance_id)
    run(RESERVE_STOCK)
    return order_id, product_id


def test_order_waits_for_its_coupon_and_then_settles():
    order_id, _product_id = order_with_a_pending_coupon()
    before = everything()
    batch = redeem()
    assert (batch.taken, batch.put_off) == ([order_id], [order_id])
    assert everything() == before
    run(RECORD_CLAIMS)
    assert redeem().put_off == []
    run(TAKE_PAYMENTS)
    assert (status(order_id), Order.objects.get().total) == ("paid", 500)
    assert_sound()


def a_waiting_order_and(count):
    """Return an order whose coupon is at the gate, and `count` later ones of others who have theirs."""
    user_ids = [make_user(balance=1_000) for _ in range(count)]
    issuance_ids = [coupon_of(user_id) for user_id in user_ids]
    order_id, product_id = order_with_a_pending_coupon()
    others = [
        place(user_id, (product_id, 1), issuance_id=issuance_id)
        for user_id, issuance_id in zip(user_ids, issuance_ids, strict=True)
    ]
    run(RESERVE_STOCK)
    return order_id, others


def test_order_that_waits_does_not_hold_up_those_behind_it():
    order_id, others = a_waiting_order_and(3)
    assert pipeline.drain(REDEEM_COUPONS) == 4
    assert statuses([order_id, *others]) == ["stock_reserved", *["coupon_applied"] * 3]


def test_order_that_waits_leaves_a_batch_of_one_to_the_next(monkeypatch, settings):
    order_id, (other,) = a_waiting_order_and(1)
    monkeypatch.setattr(settings, "BATCH_SIZE", 1)
    pipeline.drain(REDEEM_COUPONS)
    assert statuses([order_id, other]) == ["stock_reserved", "coupon_applied"]


@pytest.mark.parametrize(("seconds", "outcome"), [(29, "stock_reserved"), (31, "issuance_not_usable")])
def test_order_whose_coupon_never_arrives_fails_after_half_a_minute(seconds, outcome):
    order_id, product_id = order_with_a_pending_coupon()
    connections.gate().flushdb()  # the gate lost it
    with database_ahead(seconds):
        redeem()
    run(RELEASE)
    assert status(order_id) == outcome
    assert stock_of(product_id) == (5 if outcome == "issuance_not_usable" else 4)


def test_worker_ahead_of_time_waits_for_a_coupon_as_long_as_any():
    order_id, _product_id = order_with_a_pending_coupon()
    redeem(later=timedelta(hours=2))
    assert status(order_id) == "stock_reserved"


# --- at once --------------------------------------------------------------------------------------------------------


def three_orders_for_one_coupon():
    user_id, product_id = make_user(balance=9_000), make_product(stock=9, price=1_000)
    issuance_id = coupon_of(user_id)
    order_ids = [place(user_id, (product_id, 1), issuance_id=issuance_id) for _ in range(3)]
    run(RESERVE_STOCK)
    return order_ids


def test_one_coupon_in_three_orders_at_once_is_spent_once():
    order_ids = three_orders_for_one_coupon()
    batches = race(*[lambda: redeem(limit=1)] * 3)
    assert sorted(order_id for batch in batches for order_id in batch.taken) == order_ids
    settle()
    assert statuses(order_ids) == ["paid", "issuance_not_usable", "issuance_not_usable"]
    assert_sound()


def seen_without_lock(issuance_ids):
    """Look at issuances as `lock_issuances` does, without locking them."""
    terms = [f"campaign__{name}" for name in Terms.__dataclass_fields__]
    rows = Issuance.objects.filter(pk__in=set(issuance_ids)).values_list(
        "pk", "user_id", "status", "expires_at", *terms
    )
    return {row[0]: LockedIssuance(row[0], row[1], row[2], row[3], Terms(*row[4:])) for row in rows}


def test_control_without_locks_the_second_order_believes_in_a_spent_coupon(monkeypatch):
    monkeypatch.setattr(coupons, "lock_issuances", seen_without_lock)
    monkeypatch.setattr(pipeline, "lock_stage", lambda name: None)
    order_ids = three_orders_for_one_coupon()
    with holding("coupons.operations.lock_issuances") as holder:
        slow = Running(lambda: redeem(limit=1))
        holder.wait()
        assert redeem(limit=1).taken == [order_ids[1]]
        holder.let_go()
        outcome = slow.outcome()
    # The guarded UPDATE is the second line: it refuses to spend what is not `issued` and undoes the batch.
    assert isinstance(outcome, RuntimeError)
    assert str(outcome) == "1 of 1 issuances were not issued"
    assert statuses(order_ids) == ["stock_reserved", "coupon_applied", "stock_reserved"]


def test_control_without_locks_and_guard_only_the_constraint_keeps_one_coupon_from_two_orders(monkeypatch):
    monkeypatch.setattr(coupons, "lock_issuances", seen_without_lock)
    monkeypatch.setattr(pipeline, "lock_stage", lambda name: None)
    monkeypatch.setattr(coupons, "redeem", lambda uses, now: None)
    three_orders_for_one_coupon()
    outcomes = race(*[lambda: redeem(limit=1)] * 3)
    refused = [outcome for outcome in outcomes if isinstance(outcome, IntegrityError)]
    assert [db.violated_constraint(error) for error in refused] == ["order_one_live_per_issuance"] * 2
    assert "C2" in violated()


def test_cancel_and_redeem_of_one_coupon_wait_for_each_other():
    user_id, product_id = make_user(balance=9_000), make_product(stock=9, price=1_000)
    issuance_id = coupon_of(user_id)
    paid = place(user_id, (product_id, 1), issuance_id=issuance_id)
    settle()
    second = Order.objects.get(pk=place(user_id, (product_id, 1)))
    Order.objects.filter(pk=second.pk).update(issuance_id=issuance_id)
    run(RESERVE_STOCK)
    with holding("coupons.operations.give_back") as holder:
        first = Running(
            lambda: flows.cancel_order(order_id=paid, user_id=None, reason="", key=None, now=timezone.now())
        )
        holder.wait()
        redeeming = Running(redeem)
        wait_until_blocked(1)
        holder.let_go()
        assert first.outcome() == flows.CancelledOrder(paid)
        assert redeeming.outcome().taken == [second.pk]
    settle()
    assert statuses([paid, second.pk]) == ["cancelled", "paid"]
    assert_sound()
