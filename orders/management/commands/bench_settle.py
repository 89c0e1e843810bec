"""How many accepted orders one worker settles per second, one by one and in batches."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from orders import benchmark
from orders.benchmark import Settled
from shop.commands import ShopCommand

SMALL_SHARE = 10  # batches of one are so much slower that a tenth of the orders says as much


class Command(ShopCommand):
    help = (
        "Accept a backlog of orders in a scratch database beside the running shop's, let one Celery worker settle it, "
        "and print its rate at batch size 1 and at the default."
    )
    examples = """
  python manage.py bench_settle --orders 20000
  python manage.py bench_settle --orders 20000 --products 1     everyone wants one product
"""

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--orders", type=int, default=20_000, help="size of the backlog (default: 20000)")
        parser.add_argument("--products", type=int, default=1_000, help="products they choose from (default: 1000)")
        parser.add_argument(
            "--batch-size", type=int, default=settings.BATCH_SIZE, help=f"default: {settings.BATCH_SIZE}"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> None:
        sizes = {1: max(1, options["orders"] // SMALL_SHARE), options["batch_size"]: options["orders"]}
        runs = [self._measure(count, size, options["products"]) for size, count in sizes.items()]
        self.stdout.write(_as_json(runs) if options["json"] else _as_table(runs))

    def _measure(self, count: int, batch_size: int, products: int) -> Settled:
        return benchmark.settle(count, products=products, batch_size=batch_size, report=self._say)

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a long run


def _as_json(runs: list[Settled]) -> str:
    rows = [
        {
            "batch_size": run.batch_size,
            "orders": run.orders,
            "seconds": round(run.seconds, 3),
            "orders_per_second": round(run.orders_per_second),
        }
        for run in runs
    ]
    return json.dumps({"runs": rows, "ratio": round(runs[-1].orders_per_second / runs[0].orders_per_second, 1)})


def _as_table(runs: list[Settled]) -> str:
    lines = [f"{'batch':>6} {'orders':>8} {'seconds':>8} {'orders/s':>9} {'x':>6}"]
    first = runs[0].orders_per_second
    lines += [
        f"{run.batch_size:>6,} {run.orders:>8,} {run.seconds:>8.2f} {run.orders_per_second:>9,.0f} "
        f"{run.orders_per_second / first:>6.1f}"
        for run in runs
    ]
    return "\n".join(lines)
