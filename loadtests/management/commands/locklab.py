"""`manage.py locklab`: the same orders under several ways to lock, side by side."""

import signal
import time
from argparse import ArgumentTypeError
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import CommandParser
from django.utils import timezone

from loadtests import procfs
from loadtests.lab import crew, engines, experiment, report, strategies, table, tables
from loadtests.lab.answers import PATIENCE_SECONDS
from loadtests.lab.experiment import Lab, Plan
from loadtests.lab.findings import findings
from loadtests.lab.market import WORKLOADS
from loadtests.lab.redis_locks import LEASE_SECONDS
from loadtests.lab.results import Measured, Report
from loadtests.lab.strategies.batch import BATCH
from loadtests.management.commands.loadtest import terminal
from loadtests.progress import LiveLine
from shop.commands import CommandFailed, Exit, ShopCommand
from shop.local.errors import CannotStart

PROCESSES_PER_CORE = 2  # so that one interpreter's lock never decides how fast customers are


def names(text: str, known: Collection[str]) -> list[str]:
    """Return the names in a comma-separated list; `all` is every one. Raises ArgumentTypeError."""
    chosen = list(dict.fromkeys(known if text == "all" else text.split(",")))
    if unknown := [name for name in chosen if name not in known]:
        raise ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    return chosen


def strategy_names(text: str) -> list[str]:
    return names(text, strategies.BY_NAME)


def workload_names(text: str) -> list[str]:
    return names(text, WORKLOADS)


class Command(ShopCommand):
    help = (
        "Settles the same orders under the original report's Redis multi-lock, select_for_update, split transactions, "
        "this shop's batch pipeline and optimistic versions, and compares them. Starts a PostgreSQL and a Redis of its "
        "own, or uses DATABASE_URL and REDIS_URL. Exit code 3: an audit found something, or an order was lost."
    )
    examples = """
  manage.py locklab                                              about two minutes
  manage.py locklab --strategies all --report reports/locks       also with unsorted locks
  manage.py locklab --strategies multilock,batch --workload hot --orders 5000 --seconds 20 --rounds 1
  manage.py locklab --workload uniform,hot --clients 64 --products 1000
"""

    def add_options(self, parser: CommandParser) -> None:
        add = parser.add_argument
        five, variants = ", ".join(strategies.FIVE), ", ".join(strategies.VARIANTS)
        about = f"which of {five}, {variants}; `all` (default: the first five)"
        add("--strategies", type=strategy_names, default=list(strategies.FIVE), metavar="A,B", help=about)
        about = f"which of {', '.join(WORKLOADS)} (default: all)"
        add("--workload", type=workload_names, default=list(WORKLOADS), metavar="A,B", help=about)
        add("--orders", type=int, default=1_500, metavar="N", help="orders of a run (default: 1500)")
        add("--seconds", type=float, default=3.0, metavar="S", help="a run sends no order after this (default: 3)")
        add("--clients", type=int, default=32, metavar="N", help="customers at once (default: 32)")
        add("--products", type=int, default=100, metavar="N", help="products they choose from (default: 100)")
        add("--rounds", type=int, default=3, metavar="N", help="how often everything is run (default: 3)")
        add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same orders (default: 1)")
        add("--report", type=Path, metavar="DIR", help="also write HTML, Markdown (en, ko), SVG and JSON there")

    def run(self, **options: Any) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop the engines, drop the database
        found = self._measure(plan_of(options))
        for workload in found.workloads:
            self.stdout.write(f"\n{table.title(workload, 'en')}\n{table.aligned(found.under(workload))}")
        for violation in found.violations:
            self.stdout.write(f"AUDIT {violation}")
        self.stdout.write("")
        for sentence in findings(found, "en"):
            self.stdout.write(f"- {sentence}")
        if options["report"]:
            self.stdout.write(f"report: {report.write(found, options['report'])[0]}")
        sent = sum(run.sent for run in found.runs)
        verdict = "audits clean" if not found.violations else f"{len(found.violations)} audit violations"
        self.stdout.write(f"{len(found.runs)} runs, {sent:,} orders, {found.seconds:.0f} s: {verdict}")
        return Exit.VIOLATIONS if found.violations else Exit.OK

    def _measure(self, plan: Plan) -> Report:
        began, started_at = time.monotonic(), timezone.now()
        line = LiveLine(terminal(self.stderr))
        line.show("starting PostgreSQL, Redis and the customers")
        processes = min(plan.clients, PROCESSES_PER_CORE * procfs.cores())
        try:
            with (
                engines.servers(clients=plan.clients) as servers,
                psycopg.connect(servers.database_url, autocommit=True) as connection,
                crew.hired(processes) as hired,
            ):
                tables.create(connection)
                runs = experiment.measure_all(
                    Lab(servers, connection, hired), plan, tell=Progress(line, plan.runs, began)
                )
                conditions = conditions_of(plan, engines.described(connection), processes)
        except CannotStart as error:
            raise CommandFailed(str(error), exit_code=Exit(error.exit_code)) from error
        except psycopg.OperationalError as error:
            raise CommandFailed(f"PostgreSQL: {error}", exit_code=Exit.UNREACHABLE) from error
        except crew.CrewFailed as error:
            raise CommandFailed(f"a run broke off: {error}") from error
        return Report(
            started_at=f"{started_at:%Y-%m-%d %H:%M} UTC",
            seconds=round(time.monotonic() - began, 1),
            conditions=conditions,
            runs=runs,
        )


class Progress:
    """Says each run when it is over, and how far the whole is."""

    def __init__(self, line: LiveLine, runs: int, began: float) -> None:
        self._line, self._runs, self._began, self._over = line, runs, began, 0

    def __call__(self, run: Measured) -> None:
        self._over += 1
        trouble = "  ".join([*(f"{word} {count:,}" for word, count in failures(run).items()), *run.violations])
        rate = f"{run.settled_per_second:>7,.0f} settled/s  p95 {run.p95_ms or 0:>7,.1f} ms"
        self._line.say(f"round {run.round}  {run.workload:<8} {run.strategy:<20} {rate}  {trouble}".rstrip())
        self._line.show(f"{self._over} of {self._runs} runs  {time.monotonic() - self._began:.0f} s")


def failures(run: Measured) -> dict[str, int]:
    """Return what went wrong for the strategy in this run."""
    counts = {"deadlocks": run.deadlocks, "time-outs": run.count("timed_out", "gave_up"), "retries": run.retries}
    counts["leases lost"] = run.leases_lost
    return {word: count for word, count in counts.items() if count}


def plan_of(options: dict[str, Any]) -> Plan:
    """Return the plan the options ask for. Raises CommandFailed."""
    numbers = {name: options[name] for name in ("orders", "clients", "products", "rounds", "seconds")}
    least = {"orders": 1, "clients": 1, "products": 2, "rounds": 1, "seconds": 0.1}
    if wrong := [name for name, value in numbers.items() if value < least[name]]:
        raise CommandFailed(f"--{wrong[0]} must be at least {least[wrong[0]]:g}", exit_code=Exit.USAGE)
    return Plan(strategies=options["strategies"], workloads=options["workload"], seed=options["seed"], **numbers)


def conditions_of(plan: Plan, engine: dict[str, str], processes: int) -> dict[str, Any]:
    """Return what the figures stand on."""
    return {
        "orders": plan.orders,
        "seconds": plan.seconds,
        "clients": plan.clients,
        "client_processes": processes,
        "products": plan.products,
        "rounds": plan.rounds,
        "seed": plan.seed,
        "cores": procfs.cores(),
        "memory_mb": procfs.memory_total_mb(),
        "patience_seconds": PATIENCE_SECONDS,
        "lease_seconds": LEASE_SECONDS,
        "batch": BATCH,
    } | {f"postgresql {name}": value for name, value in engine.items()}
