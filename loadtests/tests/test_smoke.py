"""One real run: k6 against a real shop, from preflight to report."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from loadtests import results, scenarios
from shop.testing_shop import RunningShop

SMALL = ("--set", "users=30", "--set", "products=20", "--set", "coupons=2", "--set", "coupon_quantity=30")

# The machine runs other tests at the same time: this run is about being right, not about being fast.
PATIENT = [f"--set={name}" for name in ("p95_ms=5000", "orders_settled_p95_ms=9000", "generator_wait_ms=900")]
PATIENT += ["--set=coupons_settled_p95_ms=9000"]


@pytest.fixture(scope="module")
def smoke(running_shop: RunningShop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """Run smoke for three seconds; return the report's directory, what the command said and its exit code."""
    directory = tmp_path_factory.mktemp("report")
    (directory / "k6.log").write_text("claim 1 0 left by another run\n")
    length = ("--rate", "30", "--duration", "3", "--vus", "30")
    done = running_shop.manage("loadtest", "smoke", *length, *SMALL, *PATIENT, "--report", str(directory))
    return directory, done.stdout + done.stderr, done.returncode


def test_a_smoke_run_passes_reconciles_and_reports(smoke: tuple[Path, str, int]) -> None:
    directory, said, exit_code = smoke
    assert exit_code == 0, said
    run = results.read(directory)
    assert run.verdict.word == "PASS"
    assert {item.name for item in run.parts} == set(scenarios.endpoints()) - {"empty"}
    assert 82 <= run.requests <= 92
    assert run.total.count("done", "refused") == run.requests
    assert {line.state for line in run.lines} == {"agrees"}
    assert {line.fact for line in run.lines} == {"answers", "rows", "charged_amount", "settled"}
    assert all(line.server == line.k6 for line in run.lines if line.fact == "answers")
    assert run.orders.accepted == run.endpoint("order").statuses["202"] == run.orders.measured
    assert run.coupons.accepted == run.endpoint("coupon").statuses["202"]
    assert run.audit.violations == []
    assert run.audit.unchecked == []
    assert run.machine["k6"] == metadata.version("k6")


def test_its_samples_show_every_part(smoke: tuple[Path, str, int]) -> None:
    run = results.read(smoke[0])
    shown = {name for sample in run.samples for name in sample.values}
    parts = {f"cpu_{part}" for part in ("web", "worker", "postgres", "redis", "k6", "machine")}
    assert parts | {"tps", "p95", "vus", "memory_web", "connections", "lock_waits", "oldest_order"} <= shown
    assert sum(sum(sample.classes) for sample in run.samples) <= run.requests


def test_its_preflight_stands_before_the_load(smoke: tuple[Path, str, int]) -> None:
    assert "preflight: ready, list, top-selling, detail, balance, charge, coupon issued, order paid" in smoke[1]


def test_its_tokens_are_gone_and_not_in_the_report(smoke: tuple[Path, str, int]) -> None:
    assert [file.name for file in smoke[0].iterdir() if "eyJ" in file.read_text()] == []


def test_a_directory_may_be_used_again_and_earlier_claims_are_not_timed(smoke: tuple[Path, str, int]) -> None:
    assert "left by another run" not in (smoke[0] / "k6.log").read_text()


def test_a_rush_in_parties_sends_everyone_once(running_shop: RunningShop, tmp_path: Path) -> None:
    """Twenty-five in parties of ten want twenty-five coupons: all get one only if each has a token of its own."""
    numbers = ("users=25", "party=10", "hot_coupon_quantity=25", "stock=25", "settle_within_s=60")
    changes = [f"--set={number}" for number in numbers]
    done = running_shop.manage("loadtest", "rush", "--rate", "25", *changes, *PATIENT, "--report", str(tmp_path))
    run = results.read(tmp_path)
    assert run.endpoint("coupon").statuses == run.endpoint("order").statuses == {"202": 25}, done.stdout + done.stderr
    assert (run.coupons.results, run.orders.results) == ({"issued": 25}, {"paid": 25})
    made = run.generator
    assert (made.planned, made.started, made.dropped, made.vus_limit) == (25, 25, 0, 3)
    assert {line.state for line in run.lines} == {"agrees"}
    assert run.answered_within_s is not None
    assert run.overall.max is not None
    assert run.answered_within_s * 1000 + 10 >= run.overall.max  # given in hundredths of a second


def test_a_shop_elsewhere_is_refused(running_shop: RunningShop) -> None:
    done = running_shop.manage("loadtest", "smoke", "--url", "http://192.0.2.1:8000")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("refused: http://192.0.2.1:8000 is not on this machine")


def test_no_running_shop_is_said_in_one_line(tmp_path: Path, running_shop: RunningShop) -> None:
    nowhere = RunningShop(running_shop.child, tmp_path, "", running_shop.log)
    done = nowhere.manage("loadtest", "smoke")
    assert done.returncode == 4
    assert done.stderr.startswith("no running shop found")


def test_a_run_is_compared_with_itself(running_shop: RunningShop, smoke: tuple[Path, str, int]) -> None:
    done = running_shop.manage("loadtest", "compare", str(smoke[0]), str(smoke[0]))
    assert done.returncode == 0
    assert "+0.0%" in done.stdout
    missing = running_shop.manage("loadtest", "compare", str(smoke[0]), str(smoke[0] / "none"))
    assert missing.returncode == 2


def test_every_script_has_a_scenario_and_a_file() -> None:
    book = json.loads((scenarios.SCRIPTS / "scenarios.json").read_text())
    assert {file.stem for file in scenarios.SCRIPTS.glob("*.js")} == set(book["scenarios"])
