"""Percentiles, plans, bottlenecks, capacity, comparison: pure functions on small numbers."""

from dataclasses import replace

import pytest

from loadtests import bottleneck, capacity, charts, compare, outcomes, procfs, scenarios
from loadtests.generator import generator_of, lazy_collector
from loadtests.results import AuditResult, Probe, Run
from loadtests.tests.figures import keys, lines, second, sound


def test_a_percentile_is_interpolated_in_its_class() -> None:
    classes = [0, 0, 100, *[0] * 14]  # a hundred answers between 10 and 20 ms
    assert outcomes.percentile(classes, 0.5) == 15.0
    assert outcomes.percentile([50, 50, *[0] * 15], 0.95) == pytest.approx(9.5)
    assert outcomes.percentile([*[0] * 16, 3], 0.5) == 5_000.0
    assert outcomes.percentile([0] * 17, 0.95) is None


def test_the_log_gives_samples_and_the_first_odd_answer_of_each_kind() -> None:
    odd = 'odd {"endpoint":"order","status":500,"said":"%s"}'
    log = "\n".join(["claim 12 1000", odd % "a", odd % "b"])
    assert outcomes.claims_seen(log) == {12: 1_000}
    assert outcomes.odd_answers(log) == [{"endpoint": "order", "status": 500, "said": "a"}]


def test_the_kinds_of_answers_become_outcomes_statuses_and_codes() -> None:
    counted = {"done/202/": 7, "refused/409/coupon_sold_out": 5, "contention/503/": 2, "server_fault/503/": 0}
    metrics = {f"answers_coupon{{kind:{kind}}}": {"count": count} for kind, count in counted.items()}
    found = outcomes.list_endpoints(metrics | {"answers_coupon": {"count": 14}, "latency_all": {}}, ["coupon"])[0]
    assert (found.requests, found.outcomes) == (14, {"done": 7, "refused": 5, "contention": 2})
    assert (found.statuses, found.codes) == ({"202": 7, "409": 5, "503": 2}, {"coupon_sold_out": 5})


# --- plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rate", "vus", "seconds", "planned"),
    [
        ("load", 750, 1_000, 300, 217_500),
        ("stress", 1_125, 1_500, 840, 540_000),
        ("peak", 850, 600, 300, 246_500),
    ],
)
def test_the_originals_runs_are_the_defaults(name: str, rate: int, vus: int, seconds: int, planned: int) -> None:
    plan = scenarios.plan_for(name, {})
    assert (plan.number("rate"), plan.number("vus"), plan.seconds, plan.planned) == (rate, vus, seconds, planned)


def test_the_originals_mixes_are_the_defaults() -> None:
    mix = {"list": 35, "top_selling": 25, "detail": 20, "balance": 5, "order": 10, "charge": 5}
    assert scenarios.plan_for("load", {}).mix == scenarios.plan_for("stress", {}).mix == mix
    assert scenarios.plan_for("peak", {}).mix == {"coupon": 70.6, "list": 11.8, "order": 5.9, "balance": 11.8}


def test_every_number_can_be_overridden() -> None:
    given = {"rate": 1_500.0, "duration_s": 50.0, "mix.coupon": 7.0, "mix.list": 0.0, "p95_ms": 99.0, "users": 10.0}
    plan = scenarios.plan_for("load", given)
    assert plan.numbers["ramp_s"] == 10.0  # shrinks with its run
    assert plan.numbers["vus"] == 2_000  # grows with the rate
    assert (plan.mix["coupon"], "list" in plan.mix, plan.objectives["p95_ms"]) == (7.0, False, 99.0)
    assert plan.environment["USERS"] == "10"


def test_capacity_takes_mix_and_supplies_of_another_scenario_and_keeps_its_own_length() -> None:
    plan, peak = scenarios.plan_for("capacity", {}, like="peak"), scenarios.plan_for("peak", {})
    assert (plan.mix, plan.numbers["coupons"], plan.numbers["users"]) == (peak.mix, 10, 5_000)
    assert plan.numbers["duration_s"] < peak.numbers["duration_s"]
    assert scenarios.plan_for("capacity", {}, like="empty").objectives["stateless"] is True
    assert "stateless" not in scenarios.plan_for("capacity", {}).objectives


@pytest.mark.parametrize(
    ("given", "party", "vus", "planned"),
    [
        ({}, 10, 50, 500),
        ({"rate": 10_000}, 10, 1_000, 10_000),
        ({"rate": 501, "party": 50}, 50, 11, 501),
        ({"rate": 10_000, "vus": 70, "party": 1}, 1, 10_000, 10_000),
    ],
)
def test_a_rush_plans_customers_and_makes_a_virtual_user_for_each_party(
    given: dict[str, float], party: int, vus: int, planned: int
) -> None:
    plan = scenarios.plan_for("rush", given)
    assert (plan.party, plan.virtual_users, plan.planned) == (party, vus, planned)


def test_what_k6_counts_of_a_rush_are_parties_and_the_report_has_customers() -> None:
    plan = scenarios.plan_for("rush", {"rate": 25})
    metrics = {"iterations": {"count": 2}, "customers": {"count": 15}, "dropped_iterations": {"count": 1}}
    made = generator_of(plan, metrics, log="", exit_code=0)
    assert (made.planned, made.started, made.dropped, made.vus_limit) == (25, 15, 10, 3)


def test_outside_a_rush_everybody_comes_alone() -> None:
    for plan in (scenarios.plan_for("load", {}), scenarios.plan_for("capacity", {}, like="rush")):
        assert (plan.party, plan.virtual_users) == (1, plan.number("vus"))
        made = generator_of(plan, {"iterations": {"count": 7}}, log="", exit_code=0)
        assert (made.started, made.vus_limit) == (7, plan.number("vus"))


@pytest.mark.parametrize("party", [0, 2.5, 101])
def test_a_party_is_one_to_a_hundred_whole_people(party: float) -> None:
    with pytest.raises(scenarios.BadPlan, match="party"):
        scenarios.plan_for("rush", {"party": party})


@pytest.mark.parametrize(
    ("name", "value"), [("rate", 1e9), ("duration_s", 1e6), ("vus", 0), ("steps", 0), ("vuss", 5), ("ramp_s", 300)]
)
def test_a_plan_out_of_bounds_is_refused(name: str, value: float) -> None:
    with pytest.raises(scenarios.BadPlan, match=name.replace("ramp_s", "ramp")):
        scenarios.plan_for("load", {name: value})


# --- bottleneck -----------------------------------------------------------------------------------------------------


def saturated(**at: int) -> list[str]:
    """Return the resources found when each series reaches 99 from a second on."""
    samples = [second(float(t), **{name: 99.0 for name, since in at.items() if t >= since}) for t in range(1, 31)]
    run = sound()
    found = bottleneck.find_saturations(samples, machine=run.machine, objectives=run.objectives)
    return [f"{item.resource} {item.at:.0f}" for item in found]


def test_the_resource_that_saturated_first_stands_first() -> None:
    assert saturated(cpu_machine=12, cpu_web=9, oldest_order=15) == ["web 9", "machine 12", "orders 15"]


def test_of_two_at_once_the_particular_stands_first() -> None:
    assert saturated(cpu_machine=9, cpu_web=9) == ["web 9", "machine 9"]


def test_one_busy_second_is_no_bottleneck() -> None:
    samples = [second(float(t), lock_waits=50.0 if t == 7 else 0.0) for t in range(1, 31)]
    run = sound()
    assert bottleneck.find_saturations(samples, machine=run.machine, objectives=run.objectives) == []


# --- capacity -------------------------------------------------------------------------------------------------------


def search(limit: int, *, unlucky: tuple[int, ...] = ()) -> tuple[int, int]:
    """Return what a search finds when rates up to `limit` meet; the probes in `unlucky` (1-based) miss anyway."""
    probes: list[Probe] = []
    while (rate := capacity.next_rate(probes, first=100, growth=1.6, precision=0.05, most=3_000)) is not None:
        met = rate <= limit and len(probes) + 1 not in unlucky
        probes.append(Probe(rate=rate, seconds=20, met=met, p95_ms=50, settled_p95_ms=100, dropped=0))
    return max((probe.rate for probe in probes if probe.met), default=0), len(probes)


@pytest.mark.parametrize("limit", [103, 640, 1_234, 2_999])
def test_the_search_ends_within_its_precision(limit: int) -> None:
    found, probes = search(limit)
    assert limit / 1.06 <= found <= limit
    assert probes < capacity.MOST_PROBES


def test_the_search_goes_down_from_a_first_rate_that_is_too_high() -> None:
    assert search(40)[0] in range(38, 41)


def test_a_rate_that_left_wrong_data_behind_was_not_carried() -> None:
    found = capacity.conclude([sound()], [Probe(rate=100, seconds=9, met=True, p95_ms=5, settled_p95_ms=9, dropped=0)])
    assert capacity.audited(found, AuditResult(checked=9, violations=[])).verdict.word == "PASS"
    wrong = capacity.audited(found, AuditResult(checked=9, violations=["S1 stock"]))
    assert (wrong.verdict.word, keys(wrong)) == ("FAIL", ["violations"])


def test_a_probe_that_lost_an_order_decides_though_its_repetition_met_everything() -> None:
    lost = sound(lines=lines(sound().parts, rows=99))
    probes = [
        Probe(rate=100, seconds=9, met=met, p95_ms=5, settled_p95_ms=9, dropped=0, reasons=[]) for met in (False, True)
    ]
    found = capacity.conclude([lost, sound()], probes)
    assert (found.verdict.word, keys(found), found.probes) == ("FAIL", ["lost_rows"], probes)
    assert capacity.conclude([sound(settled_within_s=None), sound()], probes).verdict.word == "PASS"  # slow, not lost


def test_one_unlucky_probe_does_not_change_the_answer() -> None:
    assert search(1_234, unlucky=(3,))[0] == search(1_234)[0]


def test_the_search_stops_at_its_bound() -> None:
    assert search(99_999)[0] == 3_000


# --- comparison -----------------------------------------------------------------------------------------------------


def a_minute(p95: float, scatter: float) -> Run:
    """Return a minute's run whose ten-second means of p95 alternate around a value."""
    samples = [second(float(t), p95=p95 + scatter * (1 if t // 10 % 2 else -1)) for t in range(1, 61)]
    run = sound(samples=samples, seconds=60.0)
    total = replace(run.total, latency=replace(run.overall, p95=p95))
    return replace(run, endpoints=[*run.parts, total])


def meaning(first: Run, second: Run) -> str:
    return next(
        change.meaning for change in compare.changes(first, second) if (change.name, change.endpoint) == ("p95", "all")
    )


def test_a_change_within_the_scatter_is_noise_and_one_beyond_it_is_not() -> None:
    assert meaning(a_minute(100, 30), a_minute(115, 30)) == "noise"
    assert meaning(a_minute(100, 1), a_minute(115, 1)) == "worse"
    assert meaning(a_minute(100, 1), a_minute(80, 1)) == "better"
    assert meaning(a_minute(100, 1), a_minute(104, 1)) == "noise"  # never narrower than 5 %


def test_short_runs_are_too_short_to_tell() -> None:
    assert meaning(sound(), sound()) == "unknown"


def test_a_comparison_names_what_else_differed() -> None:
    first, second = a_minute(100, 1), a_minute(100, 1)
    other = replace(second, plan=dict(second.plan) | {"vus": 7})
    assert compare.other_terms(first, other) == ["vus 100 → 7"]
    assert "not only the code differs: vus 100 → 7" in compare.as_text(first, other)


# --- charts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "step"), [(2.0, 0.5), (19.0, 5.0), (748.0, 200.0), (0.0, 1.0), (1_000.0, 200.0)])
def test_scales_have_round_steps(most: float, step: float) -> None:
    assert charts.nice_step(most, 5) == pytest.approx(step)


def test_a_peak_survives_thinning() -> None:
    points = [(float(x), 900.0 if x == 777 else 1.0) for x in range(2_000)]
    thin = charts.thinned(points)
    assert len(thin) <= charts.MOST_POINTS
    assert (777.0, 900.0) in thin


def test_k6_collects_its_garbage_when_half_of_the_free_memory_is_full() -> None:
    assert lazy_collector(8_001) == {"GOGC": "off", "GOMEMLIMIT": "4000MiB"}
    assert 0 < procfs.memory_available_mb() < procfs.memory_total_mb()
