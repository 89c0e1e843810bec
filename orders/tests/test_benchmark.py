"""What bench_settle makes of its measurements, and one real trickle."""

import json
import subprocess
import sys

import psycopg

from orders.benchmark import Load, Settled, Trickled, turns
from orders.management.commands.bench_settle import _as_sentence, _as_table, _rates, _trickle
from shop.testing import wait_until
from shop.testing_shop import ROOT, RunningShop, clean_environment

UNIFORM = Load(orders=1_000, products=10, is_hot=False, batch_size=500, processes=1)
RUNS = {
    "one by one": Settled(Load(50, 10, False, 1, 1), [1.0]),
    "uniform": Settled(UNIFORM, [0.5, 0.1, 0.2]),
    "one hot product": Settled(UNIFORM, [0.5, 0.125, 0.4]),
}


def test_the_median_of_the_rounds_counts_and_a_hot_product_is_compared_round_by_round():
    rates = _rates(RUNS)
    assert rates["hot_to_uniform"] == 0.8  # of 1.0, 0.8 and 0.5; the medians of the rates would say 0.5
    assert rates["runs"][1] == {
        "load": "uniform",
        "batch_size": 500,
        "processes": 1,
        "orders": 1_000,
        "orders_per_second": 5_000,
        "rounds": [2_000, 10_000, 5_000],
    }
    assert _as_table(RUNS).splitlines()[-1] == "one hot product / uniform: 0.80"


def test_loads_take_turns_there_and_back():
    assert [turns(2, number) for number in range(3)] == [[0, 1], [1, 0], [0, 1]]


def test_a_trickle_is_priced_per_order_and_per_second():
    run = Trickled(orders=200, seconds=10.0, cpu_seconds=0.5, tasks=150, settled_ms=[float(ms) for ms in range(200)])
    assert _trickle(run) == {
        "orders": 200,
        "orders_per_second": 20.0,
        "worker_cpu_ms_per_order": 2.5,
        "worker_cpus": 0.05,
        "tasks_per_second": 15.0,
        "settled_p50_ms": 100,
        "settled_p95_ms": 189,
    }
    assert "2.5 ms of CPU per order (0.05 of a core), 15.0 tasks/s; settled p50 100 ms, p95 189 ms" in _as_sentence(run)


def test_a_real_worker_settles_real_backlogs_in_turns_beside_the_shop(running_shop):
    answer = running_shop.manage("bench_settle", "--orders", "60", "--rounds", "2", "--products", "5", "--json")
    assert answer.returncode == 0, answer.stderr
    runs = json.loads(answer.stdout)["runs"]
    assert [(run["load"], run["orders"], len(run["rounds"])) for run in runs] == [
        ("one by one", 1, 1),
        ("uniform", 60, 2),
        ("one hot product", 60, 2),
    ]
    assert all(rate > 0 for run in runs for rate in run["rounds"])


def test_a_real_worker_settles_a_real_trickle_beside_the_shop(running_shop):
    answer = running_shop.manage("bench_settle", "--trickle", "20", "--seconds", "1", "--products", "5", "--json")
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(answer.stdout)
    assert figures["orders"] == 20
    assert figures["worker_cpu_ms_per_order"] > 0
    assert figures["tasks_per_second"] > 0
    assert 0 < figures["settled_p50_ms"] <= figures["settled_p95_ms"] < 10_000


def scratch_databases(shop: RunningShop) -> list[str]:
    with psycopg.connect(shop.owner_url) as connection:
        return [name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'")]


def test_a_measurement_that_is_ended_puts_its_worker_and_its_database_away(running_shop):
    workers = running_shop.part("worker")
    length = ("--trickle", "5", "--seconds", "60", "--products", "5")
    measurement = subprocess.Popen(
        [sys.executable, "manage.py", "bench_settle", *length, "--data-dir", str(running_shop.data_dir)],
        cwd=ROOT,
        env=clean_environment(),
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: len(running_shop.part("worker")) > len(workers) and scratch_databases(running_shop) != [])
    measurement.terminate()
    assert (measurement.communicate(timeout=30)[1], measurement.returncode) == (b"interrupted\n", 130)
    assert scratch_databases(running_shop) == []
    assert set(running_shop.part("worker")) == set(workers)
