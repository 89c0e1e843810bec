"""The plan, the figures and the report of the lock lab, on small numbers; the command end to end."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from loadtests.lab import engines, report, results, strategies, table, tables, texts
from loadtests.lab.experiment import Plan
from loadtests.lab.findings import findings
from loadtests.lab.market import WORKLOADS, generate, hot_product
from loadtests.lab.results import Measured, Report, percentile
from shop.commands import CommandFailed, Exit
from shop.testing_shop import run_manage

pytestmark = pytest.mark.xdist_group("lab")

RUN = Measured(
    strategy="multilock",
    workload="hot",
    round=1,
    sent=100,
    said={"paid": 90, "timed_out": 10},
    refused={},
    settled=90,
    seconds=0.9,
    p50_ms=40.0,
    p95_ms=5_000.0,
    accept_p50_ms=None,
    accept_p95_ms=None,
    latencies_ms=[1.0, 2.0, 40.0, 60.0, 80.0, 5_000.0, 5_000.0],
    deadlocks=0,
    retries=0,
    leases_lost=0,
    lock_wait_ms=12.0,
    client_cores=0.2,
    settler_cores=0.0,
    machine_cores=1.5,
    foreign_cores=0.1,
    curve=[(0.0, 0), (0.9, 90)],
)
BATCH = dataclasses.replace(
    RUN,
    strategy="batch",
    said={"accepted": 100},
    settled=100,
    seconds=0.2,
    p50_ms=50.0,
    p95_ms=90.0,
    accept_p50_ms=3.0,
    accept_p95_ms=6.0,
)
CONDITIONS = {"orders": 100, "seconds": 3.0, "clients": 8, "cores": 2}


def reported(*runs: Measured) -> Report:
    return Report(started_at="2026-01-01 00:00 UTC", seconds=1.0, conditions=CONDITIONS, runs=list(runs))


# --- plans and markets ----------------------------------------------------------------------------------------------


def test_rounds_are_interleaved_and_begin_with_another_strategy() -> None:
    plan = Plan(
        strategies=["a", "b", "c"], workloads=["x"], orders=1, products=2, clients=1, rounds=2, seconds=1.0, seed=1
    )
    assert [turn[2] for turn in plan.turns()] == ["a", "b", "c", "b", "c", "a"]
    assert plan.runs == 6


def test_a_market_is_the_same_for_the_same_seed_only() -> None:
    first, again, other = (generate(WORKLOADS["uniform"], orders=50, products=10, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.orders != other.orders


def test_everybody_wants_the_hot_product_once_and_it_never_runs_out() -> None:
    market = generate(WORKLOADS["hot"], orders=200, products=40, seed=1)
    hot = hot_product(40)
    assert all(order.product_ids.count(hot) == 1 and len(set(order.product_ids)) == 2 for order in market.orders)
    assert {order.product_ids.index(hot) for order in market.orders} == {0, 1}
    assert sum(sum(order.quantities) for order in market.orders) < market.stock[hot][1]


def test_some_stock_and_some_wallets_run_out() -> None:
    market = generate(WORKLOADS["uniform"], orders=400, products=40, seed=1)
    wanted = Counter(line.product_id for order in market.orders for line in order.lines)
    scarce = {product_id for product_id, (_price, pieces) in market.stock.items() if pieces < 400}
    assert scarce == {20, 40}
    assert all(market.stock[product_id][1] < 3 * wanted[product_id] for product_id in scarce)
    assert all(market.coupons[order.coupon_id][0] == order.user_id for order in market.orders if order.coupon_id)


def test_quiet_customers_are_one_and_few() -> None:
    assert len(generate(WORKLOADS["quiet"], orders=500, products=10, seed=1).orders) == 60


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.95) == 4.0
    assert percentile([7.0], 0.05) == 7.0
    assert percentile([], 0.5) is None


def test_a_summary_has_the_medians_of_what_varies_and_sums_of_what_should_be_nothing() -> None:
    slow = dataclasses.replace(RUN, round=2, seconds=1.8, deadlocks=2, violations=["no_order_lost: 1 (order 3)"])
    fast = dataclasses.replace(RUN, round=3, seconds=0.45, deadlocks=1)
    (summary,) = reported(fast, RUN, slow).summaries
    assert summary.rate == pytest.approx(100)
    assert summary.spread == pytest.approx((50, 200))
    assert (summary.total("deadlocks"), summary.count("timed_out")) == (3, 30)
    assert summary.typical is RUN
    assert reported(fast, RUN, slow).violations == ["hot, multilock: no_order_lost: 1 (order 3)"]


def test_the_terminal_table_is_aligned_and_names_what_the_option_takes() -> None:
    lines = table.aligned(reported(RUN, BATCH).under("hot")).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["multilock", "batch"]
    assert re.findall(r"[\d,.–]+", lines[1])[:4] == ["100", "100–100", "40.0", "5,000"]


def test_findings_compare_with_the_reports_design_and_name_troubles() -> None:
    assert findings(reported(RUN, BATCH), "en") == [
        "The audit of every run is clean: 2 runs, 200 orders; money and stock add up, no order is lost or settled "
        "twice.",
        "hot product: batch pipeline settles most, 500 orders a second; that is 5.0 times the original report's design "
        "(100).",
        "hot product, Redis multi-lock, one transaction: 10 of 100 orders waited 5 s and failed.",
    ]


def test_findings_name_who_did_not_keep_up() -> None:
    late = dataclasses.replace(RUN, strategy="optimistic", workload="steady", retries=450, said={"paid": 90})
    assert findings(reported(late), "en")[1:] == [
        "hot product, steady rate, optimistic versions: only 100 of 300 orders a second were carried.",
        "hot product, steady rate, optimistic versions: 5.0 attempts had to begin again for each order settled.",
    ]


def test_findings_say_when_the_customers_took_much_of_the_machine() -> None:
    heavy = dataclasses.replace(RUN, said={"paid": 90}, client_cores=0.9)
    assert findings(reported(heavy), "en")[1:] == [
        "hot product: the customers' own processes took 0.90 to 0.90 of the 2 CPUs; with customers on another machine "
        "every strategy that kept them busy could do more."
    ]


def test_findings_warn_first_of_a_machine_that_was_not_the_labs_own() -> None:
    pressed = dataclasses.replace(RUN, said={"paid": 90}, foreign_cores=0.4)
    unknown = dataclasses.replace(RUN, said={"paid": 90}, foreign_cores=None)
    assert findings(reported(pressed, unknown), "en")[0] == (
        "Programs outside the lab kept 0.40 of the 2 CPUs busy on average: repeat this on a quiet machine before "
        "believing the figures."
    )
    assert len(findings(reported(unknown), "en")) == 1


# --- the report -----------------------------------------------------------------------------------------------------


def shape(words: Any) -> Any:
    """Return the keys of texts, with the placeholders each must have."""
    if isinstance(words, dict):
        return {key: shape(value) for key, value in words.items()}
    if isinstance(words, list):
        return [shape(value) for value in words]
    return sorted(re.findall(r"\{\w+", words))


def test_both_languages_say_the_same() -> None:
    assert shape(texts.words("ko")) == shape(texts.words("en"))
    assert set(texts.words("en")["strategies"]) == set(texts.words("en")["about"]) == set(strategies.BY_NAME)
    assert set(texts.words("en")["workloads"]) == set(texts.words("en")["short"]) == set(WORKLOADS)


def test_a_report_with_a_violation_says_fail_first(tmp_path: Path) -> None:
    broken = dataclasses.replace(RUN, violations=["not_oversold: 1 (product 3: 2 sold of 1, -1 left)"])
    report.write(reported(broken, BATCH), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "FAIL" in page
    assert "hot, multilock: not_oversold: 1 (product 3: 2 sold of 1, -1 left)" in page
    assert "clean: 2 runs" not in page
    assert "위반 1건" in (tmp_path / "report.ko.md").read_text()


def test_a_report_stands_alone(tmp_path: Path) -> None:
    files = report.write(reported(RUN, BATCH), tmp_path)
    assert [file.name for file in files] == [
        *("report.html", "report.en.md", "report.ko.md"),
        *("rates.en.svg", "rates.ko.svg", "report.json"),
    ]
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"(src|href)=", page)
    assert page.count("<svg") == 4  # two charts in two languages
    for language in texts.LANGUAGES:
        drawing = (tmp_path / f"rates.{language}.svg").read_text()
        assert "prefers-color-scheme: dark" in drawing
        assert re.findall(r'<rect class="bar (\S+)"[^>]* width="([\d.]+)"', drawing) == [
            ("multilock", "80.8"),
            ("batch", "404.0"),
        ]
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["format"] == results.FORMAT
    assert [run["strategy"] for run in document["runs"]] == ["multilock", "batch"]


# --- the command ----------------------------------------------------------------------------------------------------

SMALL = ("--orders=30", "--clients=2", "--rounds=1", "--seconds=5", "--products=10")


def test_command_compares_audits_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--strategies=for-update,batch", "--workload=uniform,hot", f"--report={tmp_path}")
    call_command("locklab", *SMALL, *asked)
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("4 runs, 120 orders, ")
    assert said.out.splitlines()[-1].endswith(": audits clean")
    assert re.findall(r"^(for-update|batch) .* clean$", said.out, re.MULTILINE) == ["for-update", "batch"] * 2
    assert "- The audit of every run is clean: 4 runs, 120 orders; " in said.out
    assert said.err.count("settled/s") == 4
    document = json.loads((tmp_path / "report.json").read_text())
    assert [run["settled"] for run in document["runs"]] == [30] * 4
    assert document["conditions"]["postgresql server_version"].startswith("18")


def test_command_ends_with_3_when_an_order_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    def lose_one(connection: Any, answers: dict[int, str]) -> None:
        connection.execute("DELETE FROM locklab.orders WHERE number = 7")
        told(connection, answers)

    told = tables.tell
    with mock.patch.object(tables, "tell", lose_one), pytest.raises(CommandFailed) as ended:
        call_command("locklab", *SMALL, "--strategies=batch", "--workload=uniform")
    assert ended.value.exit_code == Exit.VIOLATIONS
    said = capsys.readouterr().out
    assert (
        "AUDIT uniform, batch: no_order_lost: 1 (order 7: the customer was told accepted, there is no such order)"
        in said
    )
    assert said.splitlines()[-1].endswith("audit violations")


@pytest.mark.parametrize("option", ["--strategies=batch,nothing", "--workload=rush"])
def test_command_knows_its_names(option: str) -> None:
    with pytest.raises(CommandError, match="not one of"):
        call_command("locklab", option)


def test_command_refuses_numbers_that_measure_nothing() -> None:
    with pytest.raises(CommandFailed, match="--products must be at least 2") as ended:
        call_command("locklab", "--products=1")
    assert ended.value.exit_code == Exit.USAGE


def test_without_addresses_the_lab_starts_engines_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_manage("locklab", *SMALL, "--strategies=multilock", "--workload=uniform", data_dir=tmp_path / "shop")
    assert (done.returncode, done.stdout.splitlines()[-1].endswith(": audits clean")) == (0, True), done.stderr
    assert list((tmp_path / "shop").iterdir()) == []


def test_the_labs_database_and_keys_are_gone_afterwards() -> None:
    with engines.servers(clients=1) as servers:
        name = servers.database_url.rpartition("/")[2]
        client = engines.redis.Redis.from_url(servers.redis_url)
        client.set(f"{servers.prefix}:settle", 1)
    with client, engines.psycopg.connect(servers.database_url.replace(name, "postgres")) as connection:
        assert connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [name]).fetchone() == (0,)
        assert list(client.scan_iter(f"{servers.prefix}:*")) == []
