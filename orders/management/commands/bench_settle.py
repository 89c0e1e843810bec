"""How many accepted orders one worker settles per second, and what a trickle of orders costs it."""

import json
import statistics
import sys
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from orders import benchmark
from orders.benchmark import Load, Settled, Trickled
from shop.commands import ShopCommand

SMALL_SHARE = 40  # batches of one are so much slower that a fortieth of the orders says as much


class Command(ShopCommand):
    help = (
        "Accept a backlog of orders in a scratch database beside the running shop's, let one Celery worker settle it, "
        "and print its rate: in batches of one, in full batches, and when every order wants one hot product; rounds of "
        "the last two alternate, and the hot product's share is the median of each round's. "
        "With --trickle, let orders come one by one and print what the worker needs for each."
    )
    examples = """
  python manage.py bench_settle --orders 20000
  python manage.py bench_settle --orders 20000 --processes 2    the worker that `up` runs
  python manage.py bench_settle --trickle 150 --seconds 20      orders of a shop with 1,500 requests a second
"""

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--orders", type=int, default=20_000, help="size of the backlog (default: 20000)")
        parser.add_argument("--products", type=int, default=1_000, help="products they choose from (default: 1000)")
        parser.add_argument(
            "--batch-size", type=int, default=settings.BATCH_SIZE, help=f"default: {settings.BATCH_SIZE}"
        )
        parser.add_argument("--processes", type=int, default=1, help="processes of the worker (default: 1)")
        parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (default: 3)")
        parser.add_argument("--trickle", type=float, metavar="RATE", help="orders a second instead of a backlog")
        parser.add_argument("--seconds", type=float, default=20.0, help="how long they come (default: 20)")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> None:
        load = Load(options["orders"], options["products"], False, options["batch_size"], options["processes"])
        if options["trickle"]:
            trickled = benchmark.trickle(options["trickle"], seconds=options["seconds"], load=load)
            self.stdout.write(json.dumps(_trickle(trickled)) if options["json"] else _as_sentence(trickled))
            return
        one_by_one = replace(load, orders=max(1, load.orders // SMALL_SHARE), batch_size=1)
        (alone,) = benchmark.settle([one_by_one], rounds=1, report=_say)
        many, hot = benchmark.settle([load, replace(load, is_hot=True)], rounds=options["rounds"], report=_say)
        runs = {"one by one": alone, "uniform": many, "one hot product": hot}
        self.stdout.write(json.dumps(_rates(runs)) if options["json"] else _as_table(runs))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a long run


def _hot_share(runs: dict[str, Settled]) -> float:
    """Return the median of the rounds' shares: both loads of a round ran at nearly the same speed of the machine."""
    pairs = zip(runs["one hot product"].rates, runs["uniform"].rates, strict=True)
    return statistics.median(hot / uniform for hot, uniform in pairs)


def _rates(runs: dict[str, Settled]) -> dict[str, Any]:
    rows = [
        {
            "load": name,
            "batch_size": run.load.batch_size,
            "processes": run.load.processes,
            "orders": run.load.orders,
            "orders_per_second": round(run.orders_per_second),
            "rounds": [round(rate) for rate in run.rates],
        }
        for name, run in runs.items()
    ]
    return {"runs": rows, "hot_to_uniform": round(_hot_share(runs), 3)}


def _as_table(runs: dict[str, Settled]) -> str:
    lines = [f"{'load':<16} {'batch':>6} {'orders':>8} {'orders/s':>9}  rounds"]
    lines += [
        f"{name:<16} {run.load.batch_size:>6,} {run.load.orders:>8,} {run.orders_per_second:>9,.0f}  "
        + " ".join(f"{rate:,.0f}" for rate in run.rates)
        for name, run in runs.items()
    ]
    return "\n".join([*lines, f"one hot product / uniform: {_hot_share(runs):.2f}"])


def _trickle(run: Trickled) -> dict[str, float]:
    return {
        "orders": run.orders,
        "orders_per_second": round(run.orders / run.seconds, 1),
        "worker_cpu_ms_per_order": round(run.cpu_seconds / run.orders * 1000, 3),
        "worker_cpus": round(run.cpu_seconds / run.seconds, 3),
        "tasks_per_second": round(run.tasks / run.seconds, 1),
        "settled_p50_ms": round(run.settled_within_ms(0.50)),
        "settled_p95_ms": round(run.settled_within_ms(0.95)),
    }


def _as_sentence(run: Trickled) -> str:
    figures = _trickle(run)
    return (
        "{orders:,} orders at {orders_per_second}/s: worker {worker_cpu_ms_per_order} ms of CPU per order "
        "({worker_cpus} of a core), {tasks_per_second} tasks/s; settled p50 {settled_p50_ms} ms, "
        "p95 {settled_p95_ms} ms"
    ).format(**figures)
