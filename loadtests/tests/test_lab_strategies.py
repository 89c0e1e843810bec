"""Every strategy settles every order once and exactly; without what protects it the audit sees the damage."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import psycopg
import pytest

from loadtests.lab import records, redis_locks, strategies, tables
from loadtests.lab.answers import COUPON_USED, DEADLOCK, GAVE_UP, NO_MONEY, OUT_OF_STOCK, PAID, TIMED_OUT
from loadtests.lab.crew import Crew, hired
from loadtests.lab.experiment import Lab, Plan, measure
from loadtests.lab.market import Line, Order, Workload
from loadtests.lab.means import Servers
from loadtests.lab.strategies import batch, optimistic, split
from loadtests.tests.lab_bench import (
    HOT,
    OTHER,
    PIECES,
    POOR_USER,
    PRICE,
    Bench,
    bench,
    blocked_in_postgres,
    blocked_in_redis,
    market,
    opened,
    with_pieces,
)
from shop.testing import PATIENCE_SECONDS, Running, holding, wait_until

ALL_AT_ONCE = Workload("all at once")
FIRST = Order(1, 1, None, (Line(HOT, 1), Line(OTHER, 1)))
SECOND = Order(2, 2, None, (Line(OTHER, 1), Line(HOT, 1)))  # the same products, the cart filled the other way round
UNLOCKED_STOCK = records.LOCK_STOCK.replace("FOR NO KEY UPDATE", "")
STRATEGIES = "loadtests.lab.strategies"
ONE_SALE_FORGOTTEN = {
    "stock_is_its_movements": [
        f"product {HOT} has {PIECES - 1}, should have {PIECES - 2}",
        f"product {OTHER} has 999, should have 998",
    ]
}

pytestmark = pytest.mark.xdist_group("lab")  # one crew and one database for all


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Servers, psycopg.Connection]]:
    with opened() as where:
        yield where


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with hired(2) as members:
        yield members


@pytest.fixture
def shop(place: tuple[Servers, psycopg.Connection]) -> Iterator[Bench]:
    with bench(*place, market()) as filled:
        yield filled


# --- what every strategy promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", strategies.FIVE)
def test_every_order_is_settled_once_and_exactly(
    strategy: str, place: tuple[Servers, psycopg.Connection], crew: Crew
) -> None:
    plan = Plan(strategies=[strategy], workloads=[], orders=44, products=3, clients=6, rounds=1, seconds=30.0, seed=1)
    run = measure(Lab(*place, crew), plan, ALL_AT_ONCE, market(), strategy=strategy, number=1)
    assert run.violations == []
    assert (run.sent, run.settled) == (44, 44)
    assert run.refused == {OUT_OF_STOCK: 25, COUPON_USED: 1, NO_MONEY: 1}
    assert run.said == ({"accepted": 44} if strategy == "batch" else {PAID: 17} | run.refused)
    assert (run.accept_p95_ms is not None) == (strategy == "batch")
    assert run.curve[-1][1] == 44


def test_a_run_ends_with_its_time_and_what_was_sent_is_settled(
    place: tuple[Servers, psycopg.Connection], crew: Crew
) -> None:
    plan = Plan(strategies=["batch"], workloads=[], orders=44, products=3, clients=2, rounds=1, seconds=0.25, seed=1)
    slow = Workload("slow", orders_per_second=20)  # 44 orders would take more than two seconds
    run = measure(Lab(*place, crew), plan, slow, market(), strategy="batch", number=1)
    assert 1 <= run.sent <= 6
    assert run.settled == run.sent
    assert run.violations == []


# --- the multi-lock -------------------------------------------------------------------------------------------------


def test_multilock_makes_the_second_order_wait_in_redis(shop: Bench) -> None:
    is_waiting = blocked_in_redis(shop.means[1], looking=shop.means[0])
    with holding(f"{STRATEGIES}.multilock.read_stock") as holder:
        first = shop.start("multilock", FIRST, 0)
        holder.wait()
        second = shop.start("multilock", SECOND, 1)
        wait_until(is_waiting)
        holder.let_go()
        assert (first.outcome().said, second.outcome().said) == (PAID, PAID)
    assert second.outcome().waited_seconds > 0
    assert shop.found() == {}


def test_without_the_multilock_an_update_is_lost(shop: Bench) -> None:
    unlocked = mock.patch.multiple(redis_locks.MultiLock, acquire=lambda *_: None, release=lambda *_: 0)
    with unlocked, holding(f"{STRATEGIES}.multilock.read_stock") as holder:
        first = shop.start("multilock", FIRST, 0)
        holder.wait()
        assert shop.place("multilock", SECOND, 1).said == PAID
        holder.let_go()
        assert first.outcome().said == PAID
    assert shop.found() == ONE_SALE_FORGOTTEN


def test_keys_taken_as_in_the_cart_block_each_other_until_the_wait_is_over(shop: Bench) -> None:
    meeting = Meeting(redis_locks.MultiLock._take)
    with (
        mock.patch.object(redis_locks, "WAIT_SECONDS", 0.2),
        mock.patch.object(redis_locks.MultiLock, "_take", lambda lock, key, at: meeting(key, lock, key, at)),
    ):
        both = [shop.start("multilock-unsorted", order, place) for place, order in enumerate((FIRST, SECOND))]
        said = [running.outcome().said for running in both]
    assert TIMED_OUT in said
    assert set(said) <= {TIMED_OUT, PAID}
    assert list(shop.means[0].redis.scan_iter(f"{shop.servers.prefix}:lock:*")) == []
    assert shop.found() == {}


def test_a_lease_that_runs_out_is_noticed(shop: Bench) -> None:
    locks = f"{shop.servers.prefix}:lock:*"
    with (
        mock.patch.object(redis_locks, "LEASE_SECONDS", 0.001),
        holding(f"{STRATEGIES}.multilock.read_stock") as holder,
    ):
        first = shop.start("multilock", FIRST, 0)
        holder.wait()
        wait_until(lambda: not list(shop.means[1].redis.scan_iter(locks)))
        holder.let_go()
        assert first.outcome().leases_lost == 3
    assert shop.found() == {}


# --- select_for_update ----------------------------------------------------------------------------------------------


def test_select_for_update_makes_the_second_order_wait_in_postgresql(shop: Bench) -> None:
    with holding("loadtests.lab.records.lock_stock") as holder:
        first = shop.start("for-update", FIRST, 0)
        holder.wait()
        second = shop.start("for-update", SECOND, 1)
        wait_until(blocked_in_postgres(shop.connection))
        holder.let_go()
        assert (first.outcome().said, second.outcome().said) == (PAID, PAID)
    assert shop.found() == {}


def test_without_for_update_an_update_is_lost(shop: Bench) -> None:
    unlocked = mock.patch.object(records, "LOCK_STOCK", UNLOCKED_STOCK)
    with unlocked, holding("loadtests.lab.records.lock_stock") as holder:
        first = shop.start("for-update", FIRST, 0)
        holder.wait()
        assert shop.place("for-update", SECOND, 1).said == PAID
        holder.let_go()
        assert first.outcome().said == PAID
    assert shop.found() == ONE_SALE_FORGOTTEN


def test_rows_locked_as_in_the_cart_deadlock(shop: Bench) -> None:
    meeting = Meeting(records.lock_stock)
    with mock.patch.object(records, "lock_stock", lambda connection, ids: meeting("product", connection, ids)):
        both = [shop.start("for-update-unsorted", order, place) for place, order in enumerate((FIRST, SECOND))]
        said = sorted(running.outcome().said for running in both)
    assert said == [DEADLOCK, PAID]
    assert shop.found() == {}


class Meeting:
    """Lets the first product locked by each of two threads be locked before either goes on to its second."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._barrier = threading.Barrier(2)
        self._met: set[int] = set()

    def __call__(self, key: str, *args: Any) -> Any:
        result = self._function(*args)
        if key.startswith("product") and threading.get_ident() not in self._met:
            self._met.add(threading.get_ident())
            self._barrier.wait(PATIENCE_SECONDS)
        return result


# --- split transactions ---------------------------------------------------------------------------------------------


def test_split_without_for_update_oversells(shop: Bench) -> None:
    tables.fill(shop.connection, with_pieces(market(), 1))
    unlocked = mock.patch.object(records, "LOCK_STOCK", UNLOCKED_STOCK)
    with unlocked, holding("loadtests.lab.records.lock_stock") as holder:
        first = shop.start("split", FIRST, 0)
        holder.wait()
        assert shop.place("split", SECOND, 1).said == PAID
        holder.let_go()
        assert first.outcome().said == PAID
    assert shop.found() == {"not_oversold": [f"product {HOT}: 2 sold of 1, -1 left"]}


def test_split_gives_back_what_a_refused_order_had_taken(shop: Bench) -> None:
    dear = Order(1, POOR_USER, None, (Line(HOT, 1), Line(OTHER, 9)))
    assert shop.place("split", dear).said == NO_MONEY
    assert shop.connection.execute("SELECT available FROM locklab.stock ORDER BY product_id").fetchall() == [
        (PIECES,),
        (1_000,),
        (1_000,),
    ]
    assert shop.found() == {}


def test_split_that_waits_too_long_for_a_row_fails_and_leaves_nothing(shop: Bench) -> None:
    shop.means[0].connection.execute("SET lock_timeout = '20ms'")
    with shop.connection.transaction():
        records.lock_stock(shop.connection, [HOT])
        assert shop.place("split", FIRST).said == TIMED_OUT
    assert shop.connection.execute("SELECT state, refusal FROM locklab.orders").fetchall() == [("failed", TIMED_OUT)]
    assert shop.found() == {}


def test_split_that_waits_too_long_for_a_wallet_gives_the_stock_back(shop: Bench) -> None:
    shop.means[0].connection.execute("SET lock_timeout = '20ms'")
    with shop.connection.transaction():
        shop.connection.execute("SELECT FROM locklab.wallet WHERE user_id = 1 FOR UPDATE")
        assert shop.place("split", FIRST).said == TIMED_OUT
    assert shop.connection.execute("SELECT state, refusal FROM locklab.orders").fetchall() == [("failed", TIMED_OUT)]
    assert shop.found() == {}


def test_split_without_its_guard_overdraws(shop: Bench) -> None:
    unguarded = split.PAY.replace("AND balance >= %(total)s", "")
    with mock.patch.object(split, "PAY", unguarded):
        assert [shop.place("split", order).said for order in market().orders[42:]] == [PAID, PAID]
    assert shop.found() == {"wallet_not_negative": [f"user {POOR_USER} has -{PRICE}"]}


# --- optimistic versions --------------------------------------------------------------------------------------------


def test_optimistic_order_begins_again_when_another_was_faster(shop: Bench) -> None:
    with holding(f"{STRATEGIES}.optimistic.read") as holder:
        first = shop.start("optimistic", FIRST, 0)
        holder.wait()
        assert shop.place("optimistic", SECOND, 1).said == PAID
        holder.let_go()
        assert (first.outcome().said, first.outcome().retries) == (PAID, 1)
    assert shop.found() == {}


def test_without_the_version_an_update_is_lost(shop: Bench) -> None:
    unchecked = optimistic.WRITE_STOCK.replace("AND version = %(version)s", "")
    with mock.patch.object(optimistic, "WRITE_STOCK", unchecked), holding(f"{STRATEGIES}.optimistic.read") as holder:
        first = shop.start("optimistic", FIRST, 0)
        holder.wait()
        assert shop.place("optimistic", SECOND, 1).said == PAID
        holder.let_go()
        assert (first.outcome().said, first.outcome().retries) == (PAID, 0)
    assert shop.found() == ONE_SALE_FORGOTTEN


def test_optimistic_gives_up_when_its_patience_ends(shop: Bench) -> None:
    stale = optimistic.WRITE_STOCK.replace("version = %(version)s", "version = %(version)s - 1")
    with mock.patch.object(optimistic, "WRITE_STOCK", stale), mock.patch.object(optimistic, "PATIENCE_SECONDS", 0.05):
        assert shop.place("optimistic", FIRST).said == GAVE_UP
    assert shop.connection.execute("SELECT count(*) FROM locklab.orders").fetchone() == (0,)
    assert shop.found() == {}


# --- the batch pipeline ---------------------------------------------------------------------------------------------


def test_two_settlers_settle_each_order_once(shop: Bench) -> None:
    assert [shop.place("batch", order).said for order in (FIRST, SECOND)] == ["accepted", "accepted"]
    settlers = [batch.Settler(means) for means in shop.means]
    with holding(f"{STRATEGIES}.batch.with_lines") as holder:
        first = Running(settlers[0].drain)
        holder.wait()
        second = Running(settlers[1].drain)
        wait_until(blocked_in_postgres(shop.connection))
        holder.let_go()
        assert (first.outcome(), second.outcome()) == (None, None)
    assert sorted([*settlers[0].settled, *settlers[1].settled]) == [1, 2]
    assert shop.found() == {}


def test_without_the_claim_two_settlers_sell_twice(shop: Bench) -> None:
    shop.place("batch", FIRST)
    settlers = [batch.Settler(means) for means in shop.means]
    unclaimed = batch.CLAIM.replace("FOR NO KEY UPDATE SKIP LOCKED", "")
    with (
        mock.patch.multiple(batch, CLAIM=unclaimed, TAKE_TURN="SELECT %s, %s"),
        holding(f"{STRATEGIES}.batch.with_lines") as holder,
    ):
        first = Running(settlers[0].drain)
        holder.wait()
        settlers[1].drain()
        holder.let_go()
        assert first.outcome() is None
    assert shop.found() == {
        "paid_exactly_once": [f"order 1 is paid: 2 transfers, together {4 * PRICE} of {2 * PRICE}"],
        "stock_taken_exactly_once": [
            f"order 1 is paid: took 2 of product {HOT}, wanted 1",
            f"order 1 is paid: took 2 of product {OTHER}, wanted 1",
        ],
    }


def test_settler_sleeps_until_woken_and_ends_with_nothing_left(shop: Bench) -> None:
    is_over = threading.Event()
    settler = batch.Settler(shop.means[1])
    with mock.patch.object(batch, "LOOK_SECONDS", 20.0):  # nothing but the wake-up can be what settles the order
        sleeps = blocked_in_redis(shop.means[1], looking=shop.means[0])
        working = Running(lambda: settler.work(is_over.is_set))
        wait_until(sleeps)
        shop.place("batch", FIRST)
        wait_until(lambda: list(settler.settled) == [1])
        is_over.set()
        batch.wake(shop.means[0].redis, shop.servers.prefix)
        assert working.outcome() is None
    assert shop.found() == {}
