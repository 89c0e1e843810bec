"""Reserving stock: first come, first served, all lines or none, and never more than there is, whoever else sells."""

import pytest
from django.utils import timezone

from balance.models import Wallet
from balance.operations import LockedWallet
from catalog import operations as catalog
from catalog.errors import StockTooLow
from catalog.flows import restock
from catalog.models import Product, Stock, StockMovement
from config.tests.building import (
    assert_sound,
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
from orders.models import Order, OrderHistory
from orders.tasks import RESERVE_STOCK
from shop import db, pipeline
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def reserve(limit=500):
    claim = pipeline.Claim(limit=limit)
    flows.reserve_stock(claim=claim, now=timezone.now())
    return claim.taken


def add(product_id, quantity):
    return restock(product_id=product_id, quantity=quantity, reason="test", now=timezone.now())


def test_of_two_orders_for_the_last_piece_the_first_gets_it():
    user_id, product_id = make_user(), make_product(stock=1)
    order_ids = [place(user_id, (product_id, 1)) for _ in range(2)]
    assert reserve() == order_ids
    assert statuses(order_ids) == ["coupon_applied", "out_of_stock"]
    assert stock_of(product_id) == 0
    failed = Order.objects.get(pk=order_ids[1])
    assert failed.settled_at is not None
    assert list(OrderHistory.objects.filter(order=failed).order_by("pk").values_list("status", "reason")) == [
        ("pending", ""),
        ("failed", "out_of_stock"),
    ]
    assert list(StockMovement.objects.filter(order_id__isnull=False).values_list("order_id", "kind", "delta")) == [
        (order_ids[0], "reserve", -1)
    ]


def test_order_that_does_not_fit_takes_nothing_and_a_smaller_later_one_still_fits():
    user_id, plenty, scarce = make_user(), make_product(stock=10), make_product(stock=2)
    order_ids = [place(user_id, (plenty, 1), (scarce, 3)), place(user_id, (scarce, 2)), place(user_id, (scarce, 1))]
    reserve()
    assert statuses(order_ids) == ["out_of_stock", "coupon_applied", "out_of_stock"]
    assert (stock_of(plenty), stock_of(scarce)) == (10, 0)
    settle()
    assert status(order_ids[1]) == "insufficient_balance"
    assert_sound()


def test_product_that_was_hidden_after_acceptance_is_unavailable():
    user_id, product_id, other = make_user(), make_product(stock=5), make_product(stock=5)
    order_id = place(user_id, (other, 1), (product_id, 1))
    Product.objects.filter(pk=product_id).update(is_hidden=True)
    reserve()
    assert status(order_id) == "product_unavailable"
    assert (stock_of(product_id), stock_of(other)) == (5, 5)
    assert_sound()


def test_restock_in_between_serves_the_later_order_only():
    user_id, product_id = make_user(balance=10_000), make_product(stock=0)
    first = place(user_id, (product_id, 1))
    reserve()
    add(product_id, 1)
    second = place(user_id, (product_id, 1))
    settle()
    assert statuses([first, second]) == ["out_of_stock", "paid"]
    assert_sound()


# --- at once --------------------------------------------------------------------------------------------------------


def sell_all(limit):
    while reserve(limit):
        pass


def test_hot_product_at_once_sells_out_exactly():
    """Four workers, restocks and write-offs on the products of forty orders, their lines in opposite order."""
    user_id = make_user(balance=1_000_000)
    left, right = make_product(stock=20, price=10), make_product(stock=40, price=10)
    lines = [(left, 1), (right, 1)]
    order_ids = [place(user_id, *(lines if number % 2 else reversed(lines))) for number in range(40)]

    def deliver():
        for _ in range(5):
            add(left, 2)
            add(right, -1)

    outcomes = race(*[lambda: sell_all(3)] * 4, deliver, lambda: add(left, -10))
    assert outcomes[:5] == [None] * 5
    written_off = 0 if isinstance(outcomes[5], StockTooLow) else 10
    sold = statuses(order_ids).count("coupon_applied")
    assert sold + stock_of(left) == 30 - written_off
    assert sold + stock_of(right) == 35
    assert stock_of(left) <= 10  # whoever was refused found none: at most the deliveries came after him
    assert_nothing_negative()
    settle()
    assert_sound()


def assert_nothing_negative():
    assert not Stock.objects.filter(available__lt=0).exists()


def unlocked(product_ids):
    """Look at the stock as `lock_stock` does, without locking it."""
    rows = db.rows(
        "SELECT product_id, available, ctid FROM catalog_stock WHERE product_id = ANY(%s)", [list(set(product_ids))]
    )
    return {product_id: catalog.LockedStock(*row) for product_id, *row in rows}


def test_write_off_waits_for_the_batch_that_holds_the_stock():
    user_id, product_id = make_user(), make_product(stock=5)
    order_id = place(user_id, (product_id, 5))
    with holding("catalog.operations.lock_stock") as holder:
        worker = Running(reserve)
        holder.wait()
        operator = Running(lambda: add(product_id, -1))
        wait_until_blocked(1)
        holder.let_go()
        assert worker.outcome() == [order_id]
        assert isinstance(operator.outcome(), StockTooLow)
    assert (status(order_id), stock_of(product_id)) == ("coupon_applied", 0)
    assert_nothing_negative()


def test_batch_takes_the_stock_where_the_write_off_it_waited_for_has_put_it():
    user_id, product_id = make_user(), make_product(stock=5)
    order_id = place(user_id, (product_id, 4))
    with holding("catalog.operations.restock") as holder:
        operator = Running(lambda: add(product_id, -1))
        holder.wait()
        worker = Running(reserve)
        wait_until_blocked(1)
        holder.let_go()
        assert (operator.outcome(), worker.outcome()) == (4, [order_id])
    assert (status(order_id), stock_of(product_id)) == ("coupon_applied", 0)
    settle()
    assert_sound()


def test_control_without_the_stock_lock_the_batch_decides_on_what_is_gone(monkeypatch):
    monkeypatch.setattr(catalog, "lock_stock", unlocked)
    user_id, product_id = make_user(), make_product(stock=5)
    order_id = place(user_id, (product_id, 5))
    with holding("catalog.operations.lock_stock") as holder:
        worker = Running(reserve)
        holder.wait()
        assert add(product_id, -1) == 4
        holder.let_go()
        outcome = worker.outcome()
    assert isinstance(outcome, RuntimeError)  # only its place stood between this batch and a piece that is not there
    assert str(outcome) == "1 of 1 rows of catalog_stock are not where they were locked"
    assert (status(order_id), stock_of(product_id)) == ("pending", 4)


def test_control_without_stock_and_stage_lock_the_last_piece_is_promised_twice(monkeypatch):
    monkeypatch.setattr(catalog, "lock_stock", unlocked)
    monkeypatch.setattr(pipeline, "lock_stage", lambda name: None)
    user_id, product_id = make_user(), make_product(stock=1)
    order_ids = [place(user_id, (product_id, 1)) for _ in range(2)]
    with holding("catalog.operations.lock_stock") as holder:
        slow = Running(lambda: reserve(1))
        holder.wait()
        assert reserve(1) == [order_ids[1]]
        holder.let_go()
        outcome = slow.outcome()
    assert isinstance(outcome, RuntimeError)
    assert str(outcome) == "1 of 1 rows of catalog_stock are not where they were locked"


def test_lines_in_opposite_order_do_not_deadlock(lock_recorder):
    user_id = make_user(balance=1_000_000)
    products = [make_product(stock=100, price=1) for _ in range(4)]
    order_ids = [
        place(user_id, *((product_id, 1) for product_id in (products if number % 2 else reversed(products))))
        for number in range(12)
    ]
    settle()
    cancels = [lambda order_id=order_id: cancel_one(order_id) for order_id in order_ids]
    assert race(*cancels) == [None] * 12
    assert [stock_of(product_id) for product_id in products] == [100] * 4
    assert lock_recorder.violations == []
    assert_sound()


def cancel_one(order_id):
    flows.cancel_order(order_id=order_id, user_id=None, reason="", key=None, now=timezone.now())


def test_control_stock_locked_line_by_line_in_opposite_order_deadlocks(monkeypatch, lock_recorder):
    """What `give_stock_back` would do if it wrote line by line, in the order a customer chose."""

    give_back = catalog.give_stock_back

    def give_back_line_by_line(takings, *, now):
        for taking in takings if takings[0].order_id == order_ids[0] else reversed(takings):
            give_back([taking], now=now)

    user_id = make_user(balance=1_000)
    left, right = make_product(stock=5, price=1), make_product(stock=5, price=1)
    order_ids = [place(user_id, (left, 1), (right, 1)), place(user_id, (right, 1), (left, 1))]
    settle()
    monkeypatch.setattr(catalog, "give_stock_back", give_back_line_by_line)
    monkeypatch.setattr("balance.operations.lock_wallets", without_lock)
    monkeypatch.setattr("balance.operations.record_refunds", lambda refunds, now: None)
    with holding("catalog.operations._move") as holder:
        first = Running(lambda: cancel_one(order_ids[0]))
        holder.wait()
        second = Running(lambda: cancel_one(order_ids[1]))
        wait_until_blocked(1)
        holder.let_go()
        outcomes = [first.outcome(), second.outcome()]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "OperationalError"]
    assert "deadlock detected" in str(next(outcome for outcome in outcomes if outcome))
    assert lock_recorder.violations == []  # rows of one table: the recorder cannot see this, so this test is here


def without_lock(user_ids):
    rows = Wallet.objects.filter(user_id__in=user_ids).values_list("user_id", "account_id", "balance")
    return {row[0]: LockedWallet(row[1], row[2], place="(0,0)") for row in rows}


def test_run_twice_reserves_once():
    user_id, product_id = make_user(), make_product(stock=5)
    order_id = place(user_id, (product_id, 2))
    assert (run(RESERVE_STOCK), run(RESERVE_STOCK)) == ([order_id], [])
    assert stock_of(product_id) == 3
