"""The report cannot mislead: PASS, FAIL and INVALID from figures, each shown what it must find."""

from dataclasses import replace
from typing import Any

import pytest

from loadtests.results import AuditResult, Generator, Latency, Settlement
from loadtests.tests.figures import ORDERS, SETTLED, all_of, endpoint, keys, lines, sound


def test_a_sound_run_passes() -> None:
    run = sound()
    assert run.verdict.word == "PASS"
    assert keys(run) == ["all_met"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dropped": 40, "started": 960}, "ran_out_of_vus"),
        ({"warned": True}, "vus_all_busy"),
        ({"warned": True, "dropped": 40, "started": 960}, "ran_out_of_vus"),
        ({"started": 900}, "behind_plan"),
        ({"wait_ms": 9.0}, "generator_waited"),
        ({"cpus": 1.7}, "generator_took_all"),
        ({"exit_code": 107}, "generator_ended"),
    ],
)
def test_a_starved_generator_makes_the_run_invalid(changes: dict[str, Any], reason: str) -> None:
    generator = replace(sound().generator, **changes)
    run = sound(generator=generator)
    assert run.verdict.word == "INVALID"
    assert keys(run) == [reason]


def test_a_starved_generator_is_not_read_as_a_slow_server() -> None:
    run = sound()
    slow = replace(run.total, latency=Latency(avg=900.0, p50=800.0, p95=4_000.0, p99=5_000.0, max=9_000.0))
    starved = replace(run.generator, dropped=300, started=700, warned=True)
    run = sound(generator=starved, endpoints=[*run.parts, slow])
    assert run.verdict.word == "INVALID"
    assert keys(run) == ["ran_out_of_vus", "missed_p95_ms"]
    assert "warning_is_the_generators" in [finding.key for finding in run.diagnosis]


def test_drops_that_the_objective_allows_do_not_invalidate_the_run() -> None:
    run = sound()
    allowed = dict(run.objectives) | {"dropped_iterations": 40}
    run = sound(objectives=allowed, generator=replace(run.generator, dropped=40, started=960, warned=True))
    assert run.verdict.word == "PASS"


def test_a_slightly_late_generator_is_still_valid() -> None:
    run = sound(generator=replace(sound().generator, started=975))  # a quarter of a second at 100 a second
    assert run.verdict.word == "PASS"


def test_an_order_answered_202_and_lost_fails_the_run() -> None:
    run = sound()
    lost = lines(run.parts, rows=99)
    run = sound(lines=lost)
    assert run.verdict.word == "FAIL"
    assert keys(run) == ["lost_rows"]
    assert dict(run.verdict.reasons[0].values) == {"endpoint": "order", "k6": 100, "database": 99}


def test_a_lost_order_fails_the_run_however_it_was_driven() -> None:
    run = sound()
    lost = lines(run.parts, rows=99)
    run = sound(lines=lost, generator=replace(run.generator, dropped=500, started=500))
    assert run.verdict.word == "FAIL"
    assert keys(run) == ["lost_rows", "ran_out_of_vus"]


def test_an_order_left_unsettled_fails_the_run() -> None:
    orders = Settlement(accepted=100, results={"paid": 97, "pending": 3}, unsettled=3, measured=97, latency=SETTLED)
    run = sound(orders=orders, settled_within_s=None, lines=lines(sound().parts, rows=100, orders=orders))
    assert run.verdict.word == "FAIL"
    assert keys(run) == ["lost_settled", "left_behind"]


def test_an_audit_with_violations_fails_the_run_and_a_missing_one_invalidates_it() -> None:
    assert keys(sound(audit=AuditResult(checked=28, violations=["S1 stock"]))) == ["violations"]
    unaudited = sound(audit=None)
    assert (unaudited.verdict.word, keys(unaudited)) == ("INVALID", ["not_audited"])


def test_only_a_run_that_writes_nothing_needs_neither_reconciliation_nor_audit() -> None:
    stateless = dict(sound().objectives) | {"stateless": True}
    assert sound(lines=[], audit=None, orders=None, objectives=stateless).verdict.word == "PASS"
    assert keys(sound(lines=[], audit=None, orders=None)) == ["not_audited", "not_reconciled"]


def test_totals_that_do_not_reconcile_invalidate_the_run() -> None:
    run = sound()
    run = sound(lines=lines(run.parts, rows=101))
    assert (run.verdict.word, keys(run)) == ("INVALID", ["does_not_reconcile"])


def test_a_rare_fault_fails_the_run_without_being_called_deterministic() -> None:
    parts = [endpoint("list", 999, "200", done=999), endpoint("order", 100, "202", done=99, server_fault=1)]
    run = sound(endpoints=[*parts, all_of(parts)])
    assert (run.verdict.word, keys(run), run.diagnosis) == ("FAIL", ["server_faults"], [])


def test_missed_objectives_fail_a_valid_run() -> None:
    slow = replace(SETTLED, p95=1_200.0)
    assert keys(sound(orders=replace(ORDERS, latency=slow))) == ["missed_orders_settled_p95_ms"]
    parts = [endpoint("list", 1_000, "200", done=990, contention=8, timeout=2)]
    run = sound(endpoints=[*parts, all_of(parts, replace(sound().overall, p95=151.0))])
    assert (run.verdict.word, keys(run)) == ("FAIL", ["timeouts", "missed_contention_share", "missed_p95_ms"])


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, ["all_met"]), (5.1, ["missed_answered_within_s"])])
def test_a_rush_in_which_somebody_waits_too_long_fails(seconds: float, expected: list[str]) -> None:
    objectives = dict(sound().objectives) | {"answered_within_s": 5}
    assert keys(sound(objectives=objectives, answered_within_s=seconds)) == expected


@pytest.mark.parametrize(("issued", "expected"), [(100, []), (101, ["not_sold_out"])])
def test_a_rush_for_coupons_alone_needs_no_orders(issued: int, expected: list[str]) -> None:
    run = sound(
        plan=dict(sound().plan) | {"rate": 500, "stock": 7, "hot_coupon_quantity": 100},
        objectives=dict(sound().objectives) | {"sells_out": True},
        orders=None,
        coupons=Settlement(accepted=100, results={"issued": issued}),
        generator=Generator(planned=500, started=500, dropped=0, vus_limit=500),
    )
    assert [key for key in keys(run) if key != "all_met"] == expected


@pytest.mark.parametrize(("paid", "issued", "expected"), [(100, 100, []), (99, 100, ["not_sold_out"])])
def test_a_rush_must_sell_exactly_what_there_was(paid: int, issued: int, expected: list[str]) -> None:
    run = sound()
    plan = dict(run.plan) | {"rate": 500, "stock": 100, "hot_coupon_quantity": 100}
    run = sound(
        plan=plan,
        objectives=dict(run.objectives) | {"sells_out": True},
        orders=replace(ORDERS, results={"paid": paid, "out_of_stock": 400}),
        coupons=Settlement(accepted=100, results={"issued": issued}),
        generator=Generator(planned=500, started=500, dropped=0, vus_limit=500),
    )
    assert [key for key in keys(run) if key != "all_met"] == expected
