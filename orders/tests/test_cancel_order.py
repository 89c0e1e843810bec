"""Cancelling: everything goes back once, whoever cancels, whatever runs at the same time."""

from datetime import UTC, date, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import orders.operations as operations
from balance.models import HOUSE_REVENUE_ID, Transfer, Wallet
from catalog.models import DailySales
from config.tests.building import (
    STAGES,
    assert_sound,
    balance_of,
    charge,
    coupon_of,
    everything,
    make_key,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
    stock_of,
)
from coupons.models import Issuance
from orders import flows
from orders.allocation import Claimed
from orders.errors import OrderNotCancellable, OrderNotFound
from orders.flows import CancelledOrder
from orders.models import Order, OrderHistory
from orders.tasks import TAKE_PAYMENTS
from shop import pipeline
from shop.errors import IdempotencyKeyInFlight
from shop.models import User
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def cancel(order_id, *, user_id=None, reason="", key=None, now=None):
    return flows.cancel_order(order_id=order_id, user_id=user_id, reason=reason, key=key, now=now or timezone.now())


def paid_order():
    """Return (order, user, product): two pieces of five at 1,000 with 500 off, out of a wallet of 5,000."""
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    order_id = place(user_id, (product_id, 2), issuance_id=coupon_of(user_id))
    settle()
    return order_id, user_id, product_id


def test_cancel_gives_money_stock_coupon_and_sales_back():
    order_id, user_id, product_id = paid_order()
    assert (balance_of(user_id), stock_of(product_id)) == (3_500, 3)
    assert cancel(order_id, reason="too late") == CancelledOrder(order_id)

    refund, wallet, issuance = Transfer.objects.get(kind="refund"), Wallet.objects.get(), Issuance.objects.get()
    assert (refund.amount, refund.balance_after, refund.order_id) == (1_500, 5_000, order_id)
    assert (refund.debit_account_id, refund.credit_account_id) == (HOUSE_REVENUE_ID, wallet.account_id)
    assert (wallet.balance, stock_of(product_id)) == (5_000, 5)
    assert (issuance.status, issuance.order_id, issuance.used_at) == ("issued", None, None)
    assert list(DailySales.objects.values_list("units", "revenue")) == [(0, 0)]
    assert list(OrderHistory.objects.order_by("pk").values_list("status", "reason"))[-1] == ("cancelled", "too late")
    assert_sound()


def test_sales_are_counted_and_taken_out_on_the_day_of_the_shops_calendar_the_order_was_paid():
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    order_id = place(user_id, (product_id, 2))
    for stage in STAGES[:-2]:
        run(stage)
    just_before_midnight_utc = datetime(2026, 5, 4, 23, 59, tzinfo=UTC)
    flows.take_payments(claim=pipeline.Claim(limit=1), now=just_before_midnight_utc)
    assert list(DailySales.objects.values_list("date", "units", "revenue")) == [(date(2026, 5, 5), 2, 2_000)]
    assert_sound()
    cancel(order_id)
    assert list(DailySales.objects.values_list("date", "units", "revenue")) == [(date(2026, 5, 5), 0, 0)]
    assert_sound()


def test_order_that_cost_nothing_is_cancelled_without_a_refund():
    user_id, product_id = make_user(), make_product(stock=5, price=300)
    order_id = place(user_id, (product_id, 1), issuance_id=coupon_of(user_id))
    settle()
    cancel(order_id)
    assert (status(order_id), stock_of(product_id), Transfer.objects.count()) == ("cancelled", 5, 0)
    assert_sound()


def test_order_that_cost_nothing_of_a_user_without_a_wallet_is_cancelled():
    operator_id, product_id = User.objects.create_superuser("boss", password="x").pk, make_product(stock=1, price=0)
    order_id = place(operator_id, (product_id, 1))
    settle()
    assert cancel(order_id) == CancelledOrder(order_id)
    assert (status(order_id), stock_of(product_id), Transfer.objects.count()) == ("cancelled", 1, 0)
    assert_sound()


def test_owner_cancels_and_a_stranger_does_not_see_the_order():
    order_id, user_id, _product_id = paid_order()
    stranger_id = make_user()
    before = everything()
    for order, acting_id in ((order_id, stranger_id), (order_id + 1, user_id)):
        with pytest.raises(OrderNotFound):
            cancel(order, user_id=acting_id)
    assert everything() == before
    assert cancel(order_id, user_id=user_id) == CancelledOrder(order_id)


@pytest.mark.parametrize("steps", range(4))
def test_order_that_is_not_paid_cannot_be_cancelled_and_nothing_changes(steps):
    user_id, product_id = make_user(balance=100), make_product(stock=5, price=1_000)
    order_id = place(user_id, (product_id, 1))
    for stage in STAGES[:steps]:
        run(stage)
    if steps == 3:
        settle()
        assert status(order_id) == "insufficient_balance"
    before = everything()
    with pytest.raises(OrderNotCancellable):
        cancel(order_id)
    assert everything() == before


def test_second_cancel_is_refused_and_nothing_changes():
    order_id, _user_id, _product_id = paid_order()
    cancel(order_id)
    before = everything()
    with pytest.raises(OrderNotCancellable):
        cancel(order_id)
    assert everything() == before


def test_same_key_answers_the_same_and_gives_back_once():
    order_id, user_id, _product_id = paid_order()
    assert (
        cancel(order_id, key=make_key(user_id)) == cancel(order_id, key=make_key(user_id)) == CancelledOrder(order_id)
    )
    assert (balance_of(user_id), Transfer.objects.filter(kind="refund").count()) == (5_000, 1)


# --- at once --------------------------------------------------------------------------------------------------------


def test_cancelled_at_once_by_many_it_is_cancelled_once():
    order_id, user_id, product_id = paid_order()
    outcomes = race(*[lambda: cancel(order_id)] * 8)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CancelledOrder"] + ["OrderNotCancellable"] * 7
    assert (balance_of(user_id), stock_of(product_id)) == (5_000, 5)
    assert_sound()


def test_cancelled_at_once_with_one_key_everybody_hears_the_same_or_in_flight():
    order_id, user_id, _product_id = paid_order()
    outcomes = race(*[lambda: cancel(order_id, key=make_key(user_id))] * 8)
    assert {type(outcome) for outcome in outcomes} <= {CancelledOrder, IdempotencyKeyInFlight}
    assert CancelledOrder(order_id) in outcomes
    assert balance_of(user_id) == 5_000
    assert_sound()


def seen_without_lock(order_id, *, user_id):
    """Look at an order as `lock_order` does, without locking it."""
    return Claimed(*Order.objects.values_list(*operations.CLAIMED).get(pk=order_id))


def test_second_cancel_waits_for_the_first():
    order_id, user_id, _product_id = paid_order()
    with holding("orders.operations.lock_order") as holder:
        first = Running(lambda: cancel(order_id))
        holder.wait()
        second = Running(lambda: cancel(order_id))
        wait_until_blocked(1)
        holder.let_go()
        assert first.outcome() == CancelledOrder(order_id)
        assert isinstance(second.outcome(), OrderNotCancellable)
    assert balance_of(user_id) == 5_000


def test_control_without_the_order_lock_only_the_ledger_refuses_the_second_refund(monkeypatch, lock_recorder):
    monkeypatch.setattr(operations, "lock_order", seen_without_lock)
    order_id, user_id, _product_id = paid_order()
    with holding("orders.operations.lock_order") as holder:
        first = Running(lambda: cancel(order_id))
        holder.wait()
        assert cancel(order_id) == CancelledOrder(order_id)
        holder.let_go()
        outcome = first.outcome()
    assert type(outcome).__name__ == "IntegrityError"
    assert "transfer_once_per_effect" in str(outcome)
    assert balance_of(user_id) == 5_000
    assert [found.partition(":")[0] for found in lock_recorder.violations] == ["order locked after wallet"]
    lock_recorder.violations.clear()


def test_asking_to_cancel_an_order_that_waits_for_stock_locks_it_not():
    """A stage passes over locked orders: the question alone would give the last piece to the next one."""
    order_id = place(make_user(), (make_product(stock=1), 1))
    with CaptureQueriesContext(connection) as captured, pytest.raises(OrderNotCancellable):
        cancel(order_id)
    assert [query["sql"] for query in captured if "FOR NO KEY UPDATE" in query["sql"]] == []


def test_cancel_waits_for_the_stage_that_is_paying_the_order():
    user_id, product_id = make_user(balance=5_000), make_product(stock=5, price=1_000)
    order_id = place(user_id, (product_id, 2))
    for stage in STAGES[:-2]:
        run(stage)
    with holding("balance.operations.lock_wallets") as holder:
        paying = Running(lambda: run(TAKE_PAYMENTS))
        holder.wait()
        cancelling = Running(lambda: cancel(order_id))
        wait_until_blocked(1)
        holder.let_go()
        assert paying.outcome() == [order_id]
        assert cancelling.outcome() == CancelledOrder(order_id)
    assert (status(order_id), balance_of(user_id), stock_of(product_id)) == ("cancelled", 5_000, 5)
    assert_sound()


def test_cancels_payments_and_charges_at_once_stay_sound():
    user_id, product_id = make_user(balance=1_000_000), make_product(stock=100, price=1_000)
    paid = [place(user_id, (product_id, 2)) for _ in range(10)]
    settle()
    due = [place(user_id, (product_id, 3)) for _ in range(10)]

    def cancel_all():
        for order_id in paid:
            cancel(order_id)

    outcomes = race(cancel_all, settle, settle, lambda: charge(user_id, 77))
    assert outcomes == [None] * 4
    settle()
    assert {status(order_id) for order_id in paid} == {"cancelled"}
    assert {status(order_id) for order_id in due} == {"paid"}
    assert (balance_of(user_id), stock_of(product_id)) == (1_000_077 - 30_000, 70)
    assert_sound()
