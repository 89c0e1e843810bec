"""The stage runner: no item blocks the others, no wake-up is lost, and whoever dies leaves a trace that is used."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from unittest import mock

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from config.tests.building import (
    STAGES,
    assert_sound,
    make_product,
    make_user,
    parked_ids,
    place,
    settle,
    status,
    statuses,
    violated,
)
from orders import allocation, operations
from orders.tasks import RESERVE_STOCK, TAKE_PAYMENTS
from shop import connections, db, pipeline, wakeups
from shop.errors import Busy
from shop.models import ParkedItem, StageRun
from shop.testing import Running, holding, race, wait_until, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")
NAME, FULL = RESERVE_STOCK.name, settings.BATCH_SIZE


class Killed(BaseException):
    """The process dies here: nothing that catches Exception sees it."""


def make_orders(count, *, stock=1_000):
    product_id, user_id = make_product(stock=stock, price=10), make_user(balance=100_000)
    return [place(user_id, (product_id, 1)) for _ in range(count)]


def break_on(monkeypatch, order_id, error):
    """Let reserving stock fail as soon as this order is in the batch."""
    real = allocation.allocate_stock

    def allocate_stock(orders, available):
        if order_id in operations.ids_of(orders):
            raise error
        return real(orders, available)

    monkeypatch.setattr(allocation, "allocate_stock", allocate_stock)


def watched(stage, limits, *, before=lambda claim: None):
    """Return the stage with its batches' limits noted."""

    def flow(*, claim, now):
        limits.append(claim.limit)
        before(claim)
        stage.flow(claim=claim, now=now)

    return replace(stage, flow=flow)


def parked():
    return list(ParkedItem.objects.order_by("pk").values_list("stage", "item_id", "attempts", "last_error"))


def make_due():
    ParkedItem.objects.update(parked_until=timezone.now() - timedelta(seconds=1))


# --- a bad item -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place_of_bad", [0, 3, 6])
def test_one_bad_order_is_found_and_parked_and_the_others_settle(monkeypatch, place_of_bad):
    order_ids = make_orders(7)
    bad = order_ids[place_of_bad]
    break_on(monkeypatch, bad, ValueError("no such thing"))
    began = timezone.now()
    settle()

    assert statuses(order_ids) == ["pending" if order_id == bad else "paid" for order_id in order_ids]
    assert parked() == [(NAME, bad, 1, "ValueError('no such thing')")]
    until = ParkedItem.objects.get().parked_until
    assert until is not None
    assert timedelta(seconds=2) <= until - began < timedelta(seconds=12)
    assert violated() == {"O5", "P1"}


def test_bad_order_is_found_by_halving_and_batches_grow_again(monkeypatch):
    order_ids = make_orders(16)
    break_on(monkeypatch, order_ids[5], ValueError())
    limits: list[int] = []
    pipeline.drain(watched(RESERVE_STOCK, limits))
    # 16 fail, 8 fail, 4 pass, then 8 (4..11) fail, 4 (4..7) fail, 2 (4, 5) fail, 1 (4) passes, 2 (5, 6) fail, 1 fails
    assert limits == [FULL, 8, 4, 8, 4, 2, 1, 2, 1, 1, 2, 4, 8]
    assert [status(order_id) for order_id in order_ids].count("coupon_applied") == 15


def test_parked_order_is_tried_alone_again_with_growing_pauses_and_then_waits_for_a_person(monkeypatch):
    (bad,) = make_orders(1)
    break_on(monkeypatch, bad, ValueError("again"))
    pauses: list[int | None] = []
    for attempt in range(1, 6):
        began = timezone.now()
        pipeline.drain(RESERVE_STOCK)
        item = ParkedItem.objects.get()
        assert (item.attempts, item.last_error) == (attempt, "ValueError('again')")
        pauses.append(int((item.parked_until - began).total_seconds()) if item.parked_until else None)
        assert parked_ids(RESERVE_STOCK) == [bad]
        assert pipeline.drain(RESERVE_STOCK) == 0
        if attempt < 5:
            make_due()
    assert pauses == [2, 4, 8, 16, None]
    assert status(bad) == "pending"


def test_pause_never_exceeds_five_minutes(monkeypatch):
    monkeypatch.setattr(pipeline, "ATTEMPTS_BEFORE_A_PERSON", 100)
    now = timezone.now()
    for _ in range(12):
        pipeline.park("some.stage", 1, "x", now=now)
    assert ParkedItem.objects.get().parked_until == now + timedelta(seconds=300)


def test_parked_order_that_passes_is_forgotten(monkeypatch):
    order_ids = make_orders(3)
    with monkeypatch.context() as patched:
        break_on(patched, order_ids[1], ValueError())
        settle()
    assert statuses(order_ids) == ["paid", "pending", "paid"]
    settle()
    assert status(order_ids[1]) == "pending"  # its pause is not over
    make_due()
    settle()
    assert status(order_ids[1]) == "paid"
    assert parked() == []
    assert_sound()


def test_retry_lets_an_order_that_waits_for_a_person_settle(monkeypatch):
    (bad,) = make_orders(1)
    with monkeypatch.context() as patched:
        break_on(patched, bad, ValueError())
        for _ in range(5):
            pipeline.drain(RESERVE_STOCK)
            if ParkedItem.objects.get().parked_until:
                make_due()
    assert ParkedItem.objects.get().parked_until is None
    connections.flags().flushdb()
    assert pipeline.retry_parked(parked_ids=[ParkedItem.objects.get().pk]) == 1
    assert wakeups.is_flag_set(NAME)
    assert ParkedItem.objects.get().attempts == 0
    settle()
    assert status(bad) == "paid"
    assert_sound()


def test_failure_before_anything_is_claimed_blames_nobody_and_ends_the_drain():
    order_ids = make_orders(2)
    limits: list[int] = []

    def fail(claim):
        raise ValueError

    assert pipeline.drain(watched(RESERVE_STOCK, limits, before=fail)) == 0
    assert limits == [FULL]
    assert parked() == []
    settle()
    assert statuses(order_ids) == ["paid", "paid"]


def test_order_whose_batch_fails_after_its_commit_is_not_parked_where_nobody_would_claim_it_again():
    """A time limit may strike anywhere: parked, the order would break P1 for good."""
    order_ids = make_orders(1)

    def flow(*, claim, now):
        RESERVE_STOCK.flow(claim=claim, now=now)
        raise TimeoutError

    pipeline.drain(replace(RESERVE_STOCK, flow=flow))
    assert (parked(), status(order_ids[0])) == ([], "coupon_applied")
    settle()
    assert statuses(order_ids) == ["paid"]
    assert_sound()


# --- trouble that is nobody's fault ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError("deadlock detected"), Busy()])
def test_retryable_error_counts_no_attempt(monkeypatch, error):
    order_ids = make_orders(3)
    with monkeypatch.context() as patched:
        break_on(patched, order_ids[0], error)
        limits: list[int] = []
        assert pipeline.drain(watched(RESERVE_STOCK, limits)) == 0
    assert limits == [FULL]
    assert (parked(), statuses(order_ids)) == ([], ["pending"] * 3)
    settle()
    assert statuses(order_ids) == ["paid"] * 3
    assert_sound()


def test_batch_that_meets_a_held_wallet_is_repeated_whole():
    order_ids = make_orders(2)
    settle_until_payment()

    def hold():
        with db.transaction():
            db.rows("SELECT 1 FROM balance_wallet ORDER BY account_id FOR UPDATE")
            db.rows("SELECT 1")

    with holding("shop.db.rows") as holder:
        first = Running(hold)
        holder.wait()
        db.rows("SET lock_timeout = '50ms'")
        try:
            assert pipeline.drain(TAKE_PAYMENTS) == 0
        finally:
            db.rows("RESET lock_timeout")
        assert (statuses(order_ids), parked()) == (["coupon_applied"] * 2, [])
        holder.let_go()
        assert first.outcome() is None
    settle()
    assert statuses(order_ids) == ["paid", "paid"]
    assert_sound()


def settle_until_payment():
    for stage in STAGES[:-2]:
        pipeline.drain(stage)


def test_connection_cut_in_a_batch_costs_only_time(monkeypatch):
    order_ids = make_orders(2)
    real = allocation.allocate_stock
    limits: list[int] = []

    def cut(orders, available):
        if len(limits) == 1:
            db.rows("SELECT pg_terminate_backend(pg_backend_pid())")
        return real(orders, available)

    monkeypatch.setattr(allocation, "allocate_stock", cut)
    stage = watched(RESERVE_STOCK, limits)
    assert pipeline.drain(stage) == 0
    assert not StageRun.objects.get().is_running  # nobody died
    assert pipeline.drain(stage) == 2
    assert (limits, parked()) == ([FULL, FULL], [])
    assert statuses(order_ids) == ["coupon_applied"] * 2


# --- a dead process -------------------------------------------------------------------------------------------------


def test_after_a_death_batches_begin_with_one_and_grow():
    order_ids = make_orders(9)
    StageRun.objects.create(stage=NAME, is_running=True, size=500, began_at=timezone.now())
    limits: list[int] = []
    assert pipeline.drain(watched(RESERVE_STOCK, limits)) == 9
    assert limits == [1, 2, 4, 8]
    assert statuses(order_ids) == ["coupon_applied"] * 9
    run = StageRun.objects.get()
    assert (run.is_running, run.crashes) == (False, 0)


def test_run_that_ended_leaves_full_batches():
    limits: list[int] = []
    for _ in range(2):
        make_orders(1)
        pipeline.drain(watched(RESERVE_STOCK, limits))
    assert limits == [FULL, FULL]


def test_wakeup_that_finds_nothing_runs_no_batch_and_writes_nothing():
    limits: list[int] = []
    assert pipeline.drain(watched(RESERVE_STOCK, limits)) == 0
    assert (limits, StageRun.objects.count()) == ([], 0)


def drain_until_it_lives(stage):
    deaths = 0
    while deaths < 50:
        try:
            pipeline.drain(stage)
        except Killed:
            deaths += 1
        else:
            return deaths
    return deaths


@pytest.mark.parametrize("place_of_bad", [0, 2])
def test_order_that_kills_its_process_is_parked_for_good_and_the_others_settle(monkeypatch, place_of_bad):
    order_ids = make_orders(5)
    bad = order_ids[place_of_bad]
    break_on(monkeypatch, bad, Killed())
    monkeypatch.setattr(pipeline, "_this_process", lambda: "gone:1")  # this process plays one that dies each time
    deaths = drain_until_it_lives(RESERVE_STOCK)

    # The full batch; for the third order a batch of two after the first passed alone; then it alone, three times.
    assert deaths == {0: 4, 2: 6}[place_of_bad]
    item = ParkedItem.objects.get()
    assert (item.stage, item.item_id, item.parked_until) == (NAME, bad, None)
    assert item.last_error == "its process died each time"
    expected = ["pending" if order_id == bad else "coupon_applied" for order_id in order_ids]
    assert statuses(order_ids) == expected


def test_run_of_a_living_process_is_no_death_however_often_its_database_went_away():
    order_ids = make_orders(2)
    owner = pipeline._this_process()
    StageRun.objects.create(stage=NAME, is_running=True, size=1, crashes=2, began_at=timezone.now(), owner=owner)
    limits: list[int] = []
    assert pipeline.drain(watched(RESERVE_STOCK, limits)) == 2
    assert (limits, parked(), statuses(order_ids)) == ([FULL], [], ["coupon_applied"] * 2)


def test_two_deaths_park_nobody():
    order_ids = make_orders(2)
    StageRun.objects.create(stage=NAME, is_running=True, size=1, crashes=1, began_at=timezone.now())
    settle()
    assert (statuses(order_ids), parked()) == (["paid", "paid"], [])


# --- wake-ups -------------------------------------------------------------------------------------------------------


def queued(name="orders"):
    """Return how many messages wait in a queue of the broker."""
    return connections.flags().llen(name)


def place_while_draining(bounced):
    """Drain; right after the last claim an order comes and its wake-up bounces off the drain that is still running."""
    product_id, user_id = make_product(stock=10), make_user(balance=10_000)
    order_ids: list[int] = []
    make_orders(1)

    def flow(*, claim, now):
        RESERVE_STOCK.flow(claim=claim, now=now)
        if not order_ids:
            order_ids.append(place(user_id, (product_id, 1)))
            wakeups.publish(NAME)
            bounced.append(Running(lambda: pipeline.drain(RESERVE_STOCK)).outcome())

    pipeline.drain(replace(RESERVE_STOCK, flow=flow))
    return order_ids[0]


def test_wakeup_that_bounces_off_a_running_drain_is_not_lost():
    bounced: list[int] = []
    order_id = place_while_draining(bounced)
    assert bounced == [0]
    assert status(order_id) == "coupon_applied"


def test_control_without_looking_at_the_flag_the_bounced_wakeup_is_lost(monkeypatch):
    monkeypatch.setattr(wakeups, "is_flag_set", lambda name: False)
    bounced: list[int] = []
    order_id = place_while_draining(bounced)
    assert bounced == [0]
    assert status(order_id) == "pending"


def test_drain_at_its_time_limit_ends_and_wakes_itself(monkeypatch):
    order_ids = make_orders(3)
    monkeypatch.setattr(settings, "BATCH_SIZE", 1)
    clock = [0.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def tick(claim):
        clock[0] += pipeline.RUN_SECONDS / 2

    limits: list[int] = []
    before = queued()
    assert pipeline.drain(watched(RESERVE_STOCK, limits, before=tick)) == 2
    assert statuses(order_ids) == ["coupon_applied", "coupon_applied", "pending"]
    assert queued() - before == 2  # the next stage and itself
    assert wakeups.is_flag_set(NAME)
    assert pipeline.drain(RESERVE_STOCK) == 1


def test_drain_that_is_woken_all_the_time_ends_at_its_time_limit(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    order_ids = make_orders(1)

    def flow(*, claim, now):
        RESERVE_STOCK.flow(claim=claim, now=now)
        clock[0] += 0.7
        order_ids.extend(make_orders(1))
        wakeups.publish(NAME)

    assert pipeline.drain(replace(RESERVE_STOCK, flow=flow)) == 3
    assert statuses(order_ids) == ["coupon_applied"] * 3 + ["pending"]
    assert wakeups.is_flag_set(NAME)  # somebody will look again


def test_next_stage_is_woken_only_when_something_moved():
    pipeline.drain(RESERVE_STOCK)
    assert not wakeups.is_flag_set("orders.take_payments")
    make_orders(1)
    pipeline.drain(RESERVE_STOCK)
    assert wakeups.is_flag_set("orders.take_payments")


def test_wakeups_lost_doubled_and_out_of_order_change_only_time():
    order_ids = make_orders(4)
    for stage in (*reversed(STAGES), *reversed(STAGES), *STAGES, *STAGES):
        pipeline.drain(stage)
    assert statuses(order_ids) == ["paid"] * 4
    assert_sound()


# --- several workers on one stage -----------------------------------------------------------------------------------


def reserve_one_by_one():
    """Work like a drainer with batches of one, without being the only one."""
    while True:
        claim = pipeline.Claim(limit=1)
        RESERVE_STOCK.flow(claim=claim, now=timezone.now())
        if not claim.taken:
            return


def test_four_workers_on_one_stage_keep_first_come_first_served():
    order_ids = make_orders(24, stock=11)
    assert race(*[reserve_one_by_one] * 4) == [None] * 4
    assert statuses(order_ids) == ["coupon_applied"] * 11 + ["out_of_stock"] * 13


def test_workers_queue_at_the_stage_lock_not_at_the_stock():
    order_ids = make_orders(2, stock=1)
    with holding("orders.operations.with_lines") as holder:
        first = Running(reserve_one_by_one)
        holder.wait()
        second = Running(reserve_one_by_one)
        wait_until_blocked(1)
        holder.let_go()
        assert (first.outcome(), second.outcome()) == (None, None)
    assert statuses(order_ids) == ["coupon_applied", "out_of_stock"]


def test_control_without_the_stage_lock_four_workers_sell_past_the_first_order(monkeypatch):
    monkeypatch.setattr(pipeline, "lock_stage", lambda name: None)
    order_ids = make_orders(24, stock=11)
    with holding("orders.operations.with_lines") as holder:
        slow = Running(reserve_one_by_one)
        holder.wait()
        assert race(*[reserve_one_by_one] * 3) == [None] * 3
        holder.let_go()
        assert slow.outcome() is None
    assert status(order_ids[0]) == "out_of_stock"
    assert statuses(order_ids).count("coupon_applied") == 11


def test_turn_that_cannot_be_ended_takes_its_lock_with_it(monkeypatch):
    """A session that goes on would keep it, and all others out."""
    monkeypatch.setattr(pipeline, "_end_turn", mock.Mock(side_effect=OperationalError("disk full")))
    with pytest.raises(OperationalError):
        pipeline.drain(RESERVE_STOCK)
    held = """
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    wait_until(lambda: db.rows(held) == [])  # a backend ends a moment after its connection
