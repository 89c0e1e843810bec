"""The benchmark's table, limits and exit code, from fixed figures; what is wrong cannot pass as slow."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.urls import Resolver404, resolve

from loadtests.bench import charts, figures, growth, parts, request_costs, runs, tables
from loadtests.bench.figures import AT_LEAST, AT_MOST, EXACTLY, Bench, Figure, Part
from loadtests.bench.shops import NotMeasured, clean_environment, line_of
from loadtests.management.commands import bench as command
from loadtests.results import AuditResult, Generator, Settlement
from loadtests.tests.figures import lines, sound
from shop.commands import CommandFailed

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ASKED = "manage.py loadtest load --rate 1500"


def bench(*measured: Part) -> Bench:
    return Bench(machine={"cores": 2}, parts=list(measured))


def part(name: str = "loads", **changes: Any) -> Part:
    met = Figure(name="load: p95", measured=148.2, unit="ms", bound=AT_MOST, limit=150, command=ASKED)
    return replace(Part(name=name, seconds=61.2, figures=[met]), **changes)


@pytest.mark.parametrize(
    ("bound", "measured", "met"),
    [
        (AT_MOST, 150.0, True),
        (AT_MOST, 150.1, False),
        (AT_LEAST, 150.0, True),
        (AT_LEAST, 149.9, False),
        (EXACTLY, 150.0, True),
        (EXACTLY, 149.0, False),
        (EXACTLY, 151.0, False),
        (AT_MOST, None, None),
        ("", 9.0, None),
    ],
)
def test_a_figure_is_held_against_its_limit(bound: str, measured: float | None, met: bool | None) -> None:
    assert Figure(name="p95", measured=measured, bound=bound, limit=150).met is met


@pytest.mark.parametrize(
    ("measured", "exit_code"),
    [
        ([part()], 0),
        ([part(figures=[Figure(name="p95", measured=900, bound=AT_MOST, limit=150)])], 0),
        ([part(), part("rush", failed="it did not start")], 1),
        ([part(), part("rush", wrong=["rush: S1 stock of 7 is -1"])], 3),
        ([part(failed="it did not start"), part("rush", wrong=["lost"])], 3),
    ],
)
def test_only_what_is_wrong_or_not_measured_fails_the_benchmark(measured: list[Part], exit_code: int) -> None:
    assert bench(*measured).exit_code == exit_code


def test_the_table_names_command_figure_limit_and_what_was_missed() -> None:
    slow = Figure(
        name="load: orders settled, p95", measured=1_204, unit="ms", bound=AT_MOST, limit=1_000, command=ASKED
    )
    cpus = Figure(name="load: k6's CPUs", measured=0.3712, command=ASKED)
    measured = part(figures=[part().figures[0], slow, cpus], wrong=["load: 1 order lost"])
    assert tables.terminal(bench(measured)).splitlines() == [
        "loads  (61 s)",
        "  $ manage.py loadtest load --rate 1500",
        "    load: p95                    148 ms  ≤ 150    met",
        "    load: orders settled, p95  1,204 ms  ≤ 1,000  MISSED",
        "    load: k6's CPUs               0.371",
        "  WRONG: load: 1 order lost",
        "",
        "1 met, 1 missed, 1 wrong, 0 parts not measured",
    ]


def test_parts_that_were_not_measured_again_are_kept_and_each_says_how_it_was_measured(tmp_path: Path) -> None:
    command.keep(command.bench_of([part("growth"), part("rush")], NOW, quick=True), tmp_path)
    again = part("rush", figures=[Figure(name="issued", measured=1_000, bound=EXACTLY, limit=1_000)])
    command.keep(command.bench_of([again, part("loads")], NOW + timedelta(days=1), quick=False), tmp_path)
    kept = figures.read(tmp_path)
    first, second = "2026-05-01T00:00:00Z · quick", "2026-05-02T00:00:00Z · full"
    assert [(item.name, item.how) for item in kept.parts] == [("loads", second), ("rush", second), ("growth", first)]
    assert kept.parts[1].figures == again.figures
    assert f"## growth (61 s)\n\n{first}\n" in (tmp_path / "bench.md").read_text()
    assert "| issued | 1,000 | = 1,000 | met |" in (tmp_path / "bench.md").read_text()
    (tmp_path / "bench.json").write_text("{}")
    assert figures.read(tmp_path) is None


@pytest.mark.parametrize(("wrong", "exit_code"), [([], 0), (["load: S1 stock of 7 is -1"], 3)])
def test_the_command_ends_with_3_when_an_audit_is_not_clean(
    wrong: list[str], exit_code: int, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(parts, "PARTS", {"loads": lambda _setting: part(wrong=wrong)})
    options = {"quick": True, "only": ["loads"], "report": tmp_path / "out"}
    if exit_code:
        with pytest.raises(CommandFailed) as failed:
            command.Command().run(**options)
        assert failed.value.exit_code == exit_code
    else:
        assert command.Command().run(**options) == 0
    assert ("WRONG: load: S1 stock of 7 is -1" in capsys.readouterr().out) is bool(wrong)
    assert (tmp_path / "out" / "bench.json").exists()


def test_a_part_that_cannot_be_measured_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_setting: parts.Setting) -> Part:
        raise NotMeasured("the shop did not start")

    monkeypatch.setattr(parts, "PARTS", {"rush": broken})
    setting = parts.Setting(directory=Path(), quick=True, say=lambda _line: None)
    assert parts.measure("rush", setting).failed == "NotMeasured: the shop did not start"


# --- figures from reports -------------------------------------------------------------------------------------------


def states(rows: list[Figure]) -> dict[str, bool | None]:
    return {row.name.partition(": ")[2] or row.name: row.met for row in rows}


def test_a_load_that_did_not_reach_its_rate_is_not_met() -> None:
    run = sound()
    assert states(parts.load_figures(run, "load", ASKED)) == {
        "answered of 1,000": True,
        "requests never sent": True,
        "unexpected answers": True,
        "p95": True,
        "orders settled, p95": True,
        "k6's CPUs": None,
    }
    starved = sound(generator=replace(run.generator, dropped=1, planned=1_011))
    assert [name for name, met in states(parts.load_figures(starved, "load", ASKED)).items() if met is False] == [
        "answered of 1,011",
        "requests never sent",
    ]


def test_violations_and_lost_orders_are_wrong_and_a_clean_run_is_not() -> None:
    run = sound()
    assert runs.wrong_in(run, "load") == []
    assert runs.wrong_in(sound(audit=AuditResult(checked=9, violations=["S1"])), "load") == ["load: S1"]
    assert runs.wrong_in(sound(audit=None), "load") == ["load: nobody audited"]
    lost = sound(lines=lines(run.parts, rows=99))
    assert runs.wrong_in(lost, "load") == ["load: order: 100 acknowledged, 99 there"]


@pytest.mark.parametrize(("issued", "answered_s", "missed"), [(1_000, 4.9, []), (1_001, 4.9, ["coupons issued"])])
def test_a_rush_issues_exactly_what_there_was(issued: int, answered_s: float, missed: list[str]) -> None:
    run = sound()
    rush = replace(
        run,
        plan=dict(run.plan) | {"rate": 1_000, "hot_coupon_quantity": 1_000},
        coupons=Settlement(accepted=issued, results={"issued": issued, "rejected": 3}),
        answered_within_s=answered_s,
    )
    found = states(parts.rush_figures(rush, ASKED))
    assert [name for name, met in found.items() if met is False] == missed
    late = states(parts.rush_figures(replace(rush, answered_within_s=5.1), ASKED))
    assert late["last answer after"] is False


def test_capacity_is_a_share_of_the_empty_views() -> None:
    found = {"empty": 2_000.0, "load": 699.0}
    share = parts.capacity_figures(found, "load", "granian", ASKED)[1]
    assert (share.measured, share.met, share.command) == (0.3495, False, f"SHOP_WEB_SERVER=granian {ASKED}")
    assert parts.capacity_figures(found | {"load": 700.0}, "load", "granian", ASKED)[1].met
    assert len(parts.capacity_figures(found, "empty", "granian", ASKED)) == 1


@pytest.mark.parametrize(("share", "met"), [(0.9, True), (0.899, False)])
def test_a_hot_product_is_held_against_the_uniform_rate_of_its_own_rounds(share: float, met: bool) -> None:
    rates = {"one by one": 70.0, "uniform": 8_000.0, "one hot product": 7_100.0}
    assert [row.met for row in parts.settle_figures(rates, share, ASKED)] == [None, True, None, met]


def test_growth_compares_the_medians_of_the_rounds() -> None:
    small = {"list": [10.0, 11.0, 90.0], "settle": [0.2, 0.2, 0.2]}
    large = {"list": [14.0, 14.3, 14.4], "settle": [0.3, 0.25, 0.25]}
    rows = growth.figures({"small": small, "large": large}, 1_000_000, "load", "backlog")
    assert [(row.name.partition(",")[0], round(row.measured or 0, 2), row.met, row.command) for row in rows] == [
        ("list: p95", 1.3, True, "load"),
        ("time to settle an order", 1.25, True, "backlog"),
    ]
    large["list"] = [14.4, 14.4, 14.4]
    assert not growth.figures({"small": small, "large": large}, 1_000_000, "load", "backlog")[0].met


def test_costs_are_multiples_of_the_empty_view() -> None:
    spent = dict.fromkeys(("empty", *request_costs.BUDGETS), 100.0)
    rows = request_costs.costs([spent | {"order": 520.0}], [spent | {"order": 900.0}])
    order = next(row for row in rows if row.endpoint == "order")
    assert (order.served, order.in_process, order.budget) == (5.2, 9.0, 5.0)
    assert (rows[0].endpoint, rows[0].served, rows[0].budget) == ("empty", 1.0, None)


def test_a_machine_that_changes_its_speed_between_rounds_changes_no_multiple() -> None:
    one = dict.fromkeys(("empty", *request_costs.BUDGETS), 100.0) | {"order": 500.0}
    rounds = [{name: value * speed for name, value in one.items()} for speed in (1.0, 0.5, 2.0)]
    order = next(row for row in request_costs.costs(rounds, rounds) if row.endpoint == "order")
    assert (order.served, order.served_us) == (5.0, 500.0)


def test_endpoints_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def ask(name: str, _requests: object, _place: object, count: int) -> float:
        asked.append((name, count))
        return float(len(asked))

    monkeypatch.setattr(request_costs, "_ask", ask)
    places = dict.fromkeys(("list", "order"), request_costs.Place("http://127.0.0.1:1", Path()))
    found = request_costs.served({"list": iter(()), "order": iter(())}, places, count=200, rounds=3)
    warm_up = [("list", 20), ("order", 20)]
    assert asked == [*warm_up, *[(name, 200) for name in ("list", "order", "order", "list", "list", "order")]]
    assert found == [{"list": 3.0, "order": 4.0}, {"order": 5.0, "list": 6.0}, {"list": 7.0, "order": 8.0}]


def test_a_command_line_is_what_a_person_types() -> None:
    assert line_of(("loadtest", "load", "--rate", "9", "--report", "/x y")) == "manage.py loadtest load --rate 9"


def test_commands_are_not_led_to_another_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/shop")
    monkeypatch.setenv("SHOP_WEB_THREADS", "4")
    environment = clean_environment("granian")
    assert "DATABASE_URL" not in environment
    assert (environment["SHOP_WEB_SERVER"], environment["SHOP_WEB_THREADS"]) == ("granian", "4")


def test_the_shop_itself_has_no_empty_view() -> None:
    with pytest.raises(Resolver404):
        resolve("/empty")


def test_charts_stand_alone_and_show_every_bar(tmp_path: Path) -> None:
    bars = {
        "capacity gunicorn": {"empty": 2_784.0, "load": 990.0},
        "capacity granian": {"empty": 4_000.0, "load": 1_400.0},
    }
    files = charts.write(bench(part("capacity", charts=bars)), tmp_path)
    assert list(files.values()) == ["capacity.svg"]
    picture = (tmp_path / "capacity.svg").read_text()
    texts = [item.text for item in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert texts[1:] == ["empty", "2,784", "4,000", "load", "990", "1,400", "gunicorn", "granian"]
    assert "href" not in picture


def test_the_generator_of_a_load_is_part_of_its_figures() -> None:
    run = sound(generator=Generator(planned=1_000, started=1_000, dropped=0, vus_limit=100, cpus=0.41))
    assert [row.measured for row in parts.load_figures(run, "load", ASKED) if "k6" in row.name] == [0.41]
