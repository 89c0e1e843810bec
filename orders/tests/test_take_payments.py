"""Taking payments: first come, first served from one wallet, and no coin twice, whoever charges meanwhile."""

import pytest
from django.db import IntegrityError
from django.utils import timezone

import balance.operations as balance
from balance.models import HOUSE_REVENUE_ID, Transfer, Wallet
from balance.operations import LockedWallet
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
    statuses,
    stock_of,
)
from orders import flows
from orders.models import Order
from orders.tasks import RELEASE, TAKE_PAYMENTS
from shop import db, pipeline
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def pay(limit=500):
    batch = pipeline.Claim(limit=limit)
    flows.take_payments(claim=batch, now=timezone.now())
    return batch.taken


def orders_to_pay(user_id, *prices):
    """Return orders of these totals that wait for payment."""
    order_ids = [place(user_id, (make_product(stock=1, price=price), 1)) for price in prices]
    for stage in STAGES[:-2]:
        run(stage)
    return order_ids


def test_payment_moves_the_total_to_the_house_and_settles_the_order():
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 700)
    assert pay() == [order_id]
    order, transfer = Order.objects.get(), Transfer.objects.get(kind="payment")
    wallet = Wallet.objects.get(user_id=user_id)
    assert (order.status, order.settled_at is not None, wallet.balance) == ("paid", True, 300)
    assert (transfer.debit_account_id, transfer.credit_account_id) == (wallet.account_id, HOUSE_REVENUE_ID)
    assert (transfer.amount, transfer.balance_after, transfer.order_id, transfer.reference) == (
        700,
        300,
        order_id,
        str(order_id),
    )
    assert list(DailySales.objects.values_list("units", "revenue")) == [(1, 700)]
    assert_sound()


@pytest.mark.parametrize("limit", [1, 500])
def test_orders_of_one_wallet_are_paid_in_turn_while_it_lasts(limit):
    user_id = make_user(balance=1_000)
    order_ids = orders_to_pay(user_id, 600, 500, 400, 1)
    while pay(limit):
        pass
    run(RELEASE)
    assert statuses(order_ids) == ["paid", "insufficient_balance", "paid", "insufficient_balance"]
    assert balance_of(user_id) == 0
    assert_sound()


def test_order_that_cannot_be_paid_keeps_its_money_and_gives_back_everything():
    user_id, product_id = make_user(balance=99), make_product(stock=3, price=600)
    issuance_id = coupon_of(user_id)
    order_id = place(user_id, (product_id, 1), issuance_id=issuance_id)
    settle()
    assert (status(order_id), balance_of(user_id), stock_of(product_id)) == ("insufficient_balance", 99, 3)
    assert not Transfer.objects.filter(kind="payment").exists()
    assert not DailySales.objects.exists()
    assert_sound()


def test_order_that_costs_nothing_is_paid_without_a_transfer():
    user_id, product_id = make_user(), make_product(stock=3, price=300)
    order_id = place(user_id, (product_id, 1), issuance_id=coupon_of(user_id))
    settle()
    assert (status(order_id), Order.objects.get().total) == ("paid", 0)
    assert not Transfer.objects.exists()
    assert list(DailySales.objects.values_list("units", "revenue")) == [(1, 300)]
    assert_sound()


def test_second_payment_of_an_order_is_refused_by_the_ledger_and_changes_nothing():
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 300)
    pay()
    Order.objects.filter(pk=order_id).update(status="coupon_applied", settled_at=None)
    before = everything()
    with pytest.raises(IntegrityError, match="transfer_once_per_effect"):
        pay()
    assert everything() == before


# --- at once --------------------------------------------------------------------------------------------------------


def test_charges_and_payments_of_one_wallet_at_once():
    user_id = make_user(balance=500)
    order_ids = orders_to_pay(user_id, *[100] * 20)

    def pay_all():
        while pay(3):
            pass

    def charge_often():
        for _ in range(10):
            charge(user_id, 50)

    assert race(pay_all, pay_all, charge_often, charge_often) == [None] * 4
    run(RELEASE)
    paid = statuses(order_ids).count("paid")
    assert balance_of(user_id) == 1_500 - 100 * paid
    assert 5 <= paid <= 15
    settle()
    assert_sound()


def seen_without_lock(user_ids):
    """Look at wallets as `lock_wallets` does, without locking them."""
    rows = db.rows(
        "SELECT user_id, account_id, balance, ctid FROM balance_wallet WHERE user_id = ANY(%s)", [list(set(user_ids))]
    )
    return {user_id: LockedWallet(*wallet) for user_id, *wallet in rows}


def test_charge_waits_for_the_batch_that_holds_the_wallet():
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 700)
    with holding("balance.operations.lock_wallets") as holder:
        worker = Running(pay)
        holder.wait()
        customer = Running(lambda: charge(user_id, 50))
        wait_until_blocked(1)
        holder.let_go()
        assert (worker.outcome(), customer.outcome()) == ([order_id], None)
    assert balance_of(user_id) == 350
    assert_sound()


def test_batch_pays_from_the_wallet_where_the_charge_it_waited_for_has_put_it():
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 1_050)
    key = make_key(user_id)  # with one a charge has a transaction that can be held open
    with holding("balance.operations.charge") as holder:
        customer = Running(lambda: charge(user_id, 50, key=key))
        holder.wait()
        worker = Running(pay)
        wait_until_blocked(1)
        holder.let_go()
        assert (customer.outcome(), worker.outcome()) == (None, [order_id])
    assert (statuses([order_id]), balance_of(user_id)) == (["paid"], 0)
    assert_sound()


def test_control_without_the_wallet_lock_the_batch_pays_from_a_balance_that_is_gone(monkeypatch):
    monkeypatch.setattr(balance, "lock_wallets", seen_without_lock)
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 700)
    with holding("balance.operations.lock_wallets") as holder:
        worker = Running(pay)
        holder.wait()
        charge(user_id, 50)
        holder.let_go()
        outcome = worker.outcome()
    assert isinstance(outcome, RuntimeError)  # only its place stood between this batch and the charge it did not see
    assert str(outcome) == "1 of 1 rows of balance_wallet are not where they were locked"
    assert (statuses([order_id]), balance_of(user_id)) == (["coupon_applied"], 1_050)


def test_run_twice_pays_once():
    user_id = make_user(balance=1_000)
    (order_id,) = orders_to_pay(user_id, 700)
    assert (run(TAKE_PAYMENTS), run(TAKE_PAYMENTS)) == ([order_id], [])
    assert balance_of(user_id) == 300
