"""The tools of the tests can fail: the recorder sees a wrong order, a race is one, a holder holds."""

import threading

import pytest
from django.db import OperationalError, connection

from config.tests.building import make_product, make_user
from shop import db
from shop.testing import LockRecorder, Running, empty_shop, holding, locks_in, race, wait_until_blocked

WALLET = "UPDATE balance_wallet SET balance = balance WHERE user_id = %s"
STOCK = "UPDATE catalog_stock SET available = available WHERE product_id = %s"


@pytest.mark.parametrize(
    ("sql", "locked"),
    [
        ("SELECT 1 FROM orders_order", []),
        ('SELECT "id" FROM "orders_order" ORDER BY "id" FOR NO KEY UPDATE SKIP LOCKED', ["order"]),
        ('SELECT 1 FROM "catalog_stock" INNER JOIN "catalog_product" ON true FOR UPDATE OF "catalog_stock"', ["stock"]),
        ('SELECT 1 FROM "catalog_stock" INNER JOIN "balance_wallet" ON true FOR UPDATE', ["stock", "wallet"]),
        ("WITH moved AS (UPDATE orders_order SET status = 'paid') INSERT INTO orders_orderhistory", ["order"]),
        ("INSERT INTO catalog_dailysales (units) SELECT 1 ON CONFLICT DO UPDATE SET units = 2", ["daily sales"]),
        ("INSERT INTO catalog_dailysales (units) SELECT 1 ON CONFLICT DO NOTHING", []),
        ("DELETE FROM coupons_issuance", ["issuance"]),
        ("SELECT pg_advisory_xact_lock(%s)", ["stage"]),
        ("SELECT pg_try_advisory_xact_lock(%s)", ["idempotency key"]),
        ('UPDATE "coupons_campaign" SET issued = 1', ["campaign"]),
        ("UPDATE shop_stagerun SET is_running = false", []),
    ],
)
def test_locks_of_a_statement(sql, locked):
    assert locks_in(sql) == locked


def noted(*statements):
    recorder = LockRecorder()
    with recorder.watching(), db.transaction():
        for sql, *params in statements:
            db.rows(sql, params)
    return recorder.violations


@pytest.mark.usefixtures("committed_db")
def test_recorder_names_the_lock_that_came_too_late(lock_recorder):
    found = noted((STOCK, 1), (WALLET, 1))
    assert found == [f"wallet locked after stock: {WALLET}"]
    lock_recorder.violations.clear()


@pytest.mark.usefixtures("committed_db")
def test_recorder_accepts_the_order_and_a_lock_taken_again():
    assert noted((WALLET, 1), (STOCK, 1), (WALLET, 1)) == []


@pytest.mark.usefixtures("committed_db")
def test_recorder_starts_anew_with_each_transaction_and_sees_other_threads(lock_recorder):
    recorder = LockRecorder()

    def wrong():
        with db.transaction():
            db.rows(STOCK, [1])
            db.rows(WALLET, [1])

    with recorder.watching():
        with db.transaction():
            db.rows(STOCK, [1])
        with db.transaction():
            db.rows(WALLET, [1])
        assert recorder.violations == []
        assert race(wrong, wrong) == [None, None]
    assert recorder.violations == [f"wallet locked after stock: {WALLET}"] * 2
    lock_recorder.violations.clear()


@pytest.mark.usefixtures("committed_db")
def test_recorder_refuses_rows_locked_in_no_order(lock_recorder):
    sql = "SELECT 1 FROM catalog_stock FOR NO KEY UPDATE"
    assert noted((sql,)) == [f"rows locked in no order: {sql}"]
    lock_recorder.violations.clear()


def test_race_returns_results_and_exceptions_in_order():
    error = ValueError("mine")

    def fail():
        raise error

    assert race(lambda: 1, fail, lambda: 3) == [1, error, 3]


def test_race_starts_everybody_before_anybody_ends():
    barrier = threading.Barrier(5, timeout=10)
    assert sorted(race(*[barrier.wait] * 5)) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("committed_db")
def test_holder_owns_the_lock_while_it_is_held():
    user_id, product_id = make_user(), make_product()

    def lock():
        with db.transaction():
            db.rows(WALLET, [user_id])
            db.rows(STOCK, [product_id])

    with holding("shop.db.rows") as holder:
        first = Running(lock)
        holder.wait()
        second = Running(lock)
        wait_until_blocked(1)
        assert not first.is_over
        assert not second.is_over
        holder.let_go()
        assert (first.outcome(), second.outcome()) == (None, None)


@pytest.mark.usefixtures("committed_db")
def test_a_connection_that_one_test_lost_is_not_lost_to_the_next():
    connection.connection.close()
    for _repeat in range(2):  # it does not come back by itself
        with pytest.raises(OperationalError, match="the connection is closed"):
            db.rows("SELECT 1")
    empty_shop()
    assert db.rows("SELECT 1") == [(1,)]
