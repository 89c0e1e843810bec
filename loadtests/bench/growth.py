"""
Does the shop slow down as it grows? Two shops side by side, a small one and one with a million of everything; rounds of
the same load and the same backlog alternate between them, so that whatever else the machine does hits both.

Customers and goods are drawn from everything there is: a large shop whose load touched a thousand rows would prove
nothing.
"""

import json
import statistics
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench import shops
from loadtests.bench.figures import AT_MOST, Figure, Part
from loadtests.bench.runs import report_of, wrong_in
from loadtests.bench.shops import Say, Shop, line_of
from loadtests.results import Run

PRODUCTS, USERS, ORDERS = 1_000, 2_000, 1_000  # the small shop's: those of every other figure
LARGE, LARGE_IF_QUICK = 1_000_000, 100_000  # of each
LIMIT = 1.3
WARM_UP_ROUNDS, WARM_UP_ORDERS = 4, 12_000
ROUNDS, ROUNDS_IF_QUICK = 4, 2
BACKLOGS = 2  # a round: one takes a second, in which the machine's pace may change
LOAD = ("--rate", "300", "--vus", "300", "--set", "whole_shop=1", "--set", "p95_ms=1000")
RICH = ("--balance", "200000000", "--stock", "1000000")

Figures = dict[str, dict[str, list[float]]]
"""Shop -> what -> one value per round."""


def measure(*, quick: bool, directory: Path, say: Say) -> Part:
    """Run the rounds and return how many times slower the large shop is. Raises NotMeasured."""
    large = LARGE_IF_QUICK if quick else LARGE
    sizes = {"small": (PRODUCTS, USERS, ORDERS), "large": (large, large, large)}
    load = ("loadtest", "load", *LOAD, "--duration", "10s" if quick else "20s")
    backlog = ("bench_backlog", "--orders", "3000" if quick else "8000", "--json")
    found: Figures = {name: defaultdict(list) for name in sizes}
    wrong: list[str] = []
    with ExitStack() as stack:
        running = {name: stack.enter_context(shops.shop(say)) for name in sizes}
        for name, shop in running.items():
            fill(shop, *sizes[name], say=say)
            warm_up(shop, rounds=1 if quick else WARM_UP_ROUNDS, say=say)
        for number in range(ROUNDS_IF_QUICK if quick else ROUNDS):
            for name in ("small", "large") if number % 2 == 0 else ("large", "small"):
                say(f"growth: round {number + 1}, the {name} shop")
                run = report_of(running[name], *load[1:], directory=directory / f"growth-{name}-{number + 1}")
                collect(found[name], run, [json.loads(running[name].manage(*backlog)) for _ in range(BACKLOGS)])
                wrong += wrong_in(run, f"growth, {name}")
    return Part(
        name="growth",
        seconds=0,
        figures=figures(found, large, line_of(load), line_of(backlog)),
        wrong=wrong,
        charts={
            f"growth {name}": {what: statistics.median(values) for what, values in found[name].items()}
            for name in found
        },
    )


def fill(shop: Shop, products: int, users: int, orders: int, *, say: Say) -> None:
    """Seed so many of each; everything can be bought and paid for."""
    say(f"seeding {products:,} products, {users:,} users and {orders:,} orders")
    shop.manage("seed", "--products", str(products), "--users", str(users), "--orders", str(orders), *RICH)


def warm_up(shop: Shop, *, rounds: int, say: Say) -> None:
    """
    Let the shop have run for a while, unmeasured.

    The first change of a page after a checkpoint writes the whole page to PostgreSQL's log: 65 kB for an order of a
    large shop, where each order meets pages of its own (520 MB for 8,000), next to nothing in a small one. That is the
    cost of the minutes after a checkpoint, and filling a shop ends in one.
    """
    say("growth: warming up")
    for _ in range(rounds):
        shop.manage("bench_backlog", "--orders", str(WARM_UP_ORDERS), "--json")


def collect(found: dict[str, list[float]], run: Run, backlogs: list[dict[str, float]]) -> None:
    """Add a round: the p95 of each endpoint, and how long an order of each backlog took to settle."""
    for item in run.parts:
        if item.latency.p95 is not None:
            found[item.name].append(item.latency.p95)
    found["settle"] += [1_000 / backlog["orders_per_second"] for backlog in backlogs]


def figures(found: Figures, size: int, load: str, backlog: str) -> list[Figure]:
    """Return the large shop's medians as multiples of the small one's."""
    rows = []
    for what, values in found["small"].items():
        small, large = statistics.median(values), statistics.median(found["large"][what])
        name = "time to settle an order" if what == "settle" else f"{what}: p95"
        rows.append(
            Figure(
                name=f"{name}, times the small shop's",
                measured=large / small if small else None,
                unit=f"({small:.3g} → {large:.3g} ms at {size:,})",
                bound=AT_MOST,
                limit=LIMIT,
                command=backlog if what == "settle" else load,
            )
        )
    return rows
