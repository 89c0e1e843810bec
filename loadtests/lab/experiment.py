"""Runs: fill the tables, let the customers in, watch, audit; round after round, the strategies in turn."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from loadtests import procfs
from loadtests.lab import audit, engines, strategies, tables
from loadtests.lab.answers import FAILURES, PAID, REFUSALS, Timed
from loadtests.lab.clients import Buy, Settle
from loadtests.lab.crew import Crew, Worked
from loadtests.lab.market import WORKLOADS, Market, Order, Workload, generate
from loadtests.lab.means import Servers
from loadtests.lab.results import CURVE_POINTS, PERCENTILES, Measured, percentile
from loadtests.lab.watching import Watch, watching


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run; a run ends after `orders` orders or `seconds`, whichever comes first."""

    strategies: Sequence[str]
    workloads: Sequence[str]
    orders: int
    products: int
    clients: int
    rounds: int
    seconds: float
    seed: int

    @property
    def runs(self) -> int:
        return len(self.strategies) * len(self.workloads) * self.rounds

    def turns(self) -> Iterator[tuple[int, str, str]]:
        """
        Yield (round, workload, strategy), each strategy once per round.

        The rounds are interleaved so that noise of the machine hits all alike, and each begins with another strategy
        so that none always follows the same one.
        """
        for number in range(self.rounds):
            shift = number % len(self.strategies)
            for workload in self.workloads:
                for strategy in (*self.strategies[shift:], *self.strategies[:shift]):
                    yield number + 1, workload, strategy


@dataclass(frozen=True, slots=True)
class Lab:
    """The servers, a connection of the lab's own, and the processes that do the work."""

    servers: Servers
    connection: psycopg.Connection
    crew: Crew


def measure_all(lab: Lab, plan: Plan, *, tell: Callable[[Measured], None]) -> list[Measured]:
    """Run everything in turn; `tell` hears of each run when it is over."""
    markets = {
        name: generate(WORKLOADS[name], orders=plan.orders, products=plan.products, seed=plan.seed)
        for name in plan.workloads
    }
    measured = []
    for number, workload, strategy in plan.turns():
        run = measure(lab, plan, WORKLOADS[workload], markets[workload], strategy=strategy, number=number)
        measured.append(run)
        tell(run)
    return measured


def measure(lab: Lab, plan: Plan, workload: Workload, market: Market, *, strategy: str, number: int) -> Measured:
    """Run one strategy once on fresh tables, and audit what it left."""
    tables.fill(lab.connection, market)
    tasks = _tasks(lab, plan, workload, market.orders, strategy)
    settle = Settle(lab.servers) if strategy in strategies.SETTLE_LATER else None
    before = _spent(lab)
    with watching(lab.connection) as watch:
        worked = lab.crew.work(tasks, settle)
        spent = _difference(before, _spent(lab))
    timed = [timed for done in worked.buyers for timed in done.timed]
    found = audit.violations(lab.connection, {item.number: item.answer.said for item in timed})
    return Measured(
        strategy=strategy,
        workload=workload.name,
        round=number,
        refused=tables.refused(lab.connection),
        violations=[str(violation) for violation in found],
        **_figures(timed, worked, watch, spent),
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU time since some moment: the machine's, the engines' (None if they are not the lab's), this process's."""

    machine: float
    engines: float | None
    here: float
    seconds: float

    def foreign(self, crew: float) -> float | None:
        """Return the CPUs that programs outside the lab kept busy, as far as that can be told."""
        if self.engines is None:
            return None
        return _cores(max(0.0, self.machine - self.engines - self.here - crew), self.seconds)


def _spent(lab: Lab) -> Spent:
    return Spent(procfs.busy_seconds(), engines.cpu_seconds(lab.servers), time.process_time(), time.monotonic())


def _difference(before: Spent, after: Spent) -> Spent:
    ours = None if before.engines is None or after.engines is None else after.engines - before.engines
    return Spent(after.machine - before.machine, ours, after.here - before.here, after.seconds - before.seconds)


def _tasks(lab: Lab, plan: Plan, workload: Workload, orders: list[Order], strategy: str) -> list[Buy]:
    """Deal the orders to the customers, and the customers to the processes."""
    clients = min(plan.clients, workload.clients_at_most or plan.clients)
    carts = [orders[place::clients] for place in range(clients)]
    size = min(lab.crew.size, clients)
    return [
        Buy(strategy, lab.servers, carts[place::size], plan.seconds, workload.orders_per_second)
        for place in range(size)
    ]


def _figures(timed: list[Timed], worked: Worked, watch: Watch, spent: Spent) -> dict[str, Any]:
    ends = _ends(timed, worked)
    began = {item.number: item.began for item in timed}
    first = min(began.values(), default=worked.began_at)
    seconds = max([item.ended for item in timed] + [*ends.values()], default=first) - first
    failed = {item.number: item.ended for item in timed if item.answer.said in FAILURES}
    latencies = sorted((end - began[number]) * 1_000 for number, end in (ends | failed).items())
    answers = sorted((item.ended - item.began) * 1_000 for item in timed)
    customers = sum(done.cpu_seconds for done in worked.buyers)
    settler = worked.settler.cpu_seconds if worked.settler else 0.0
    has_settler = worked.settler is not None
    return {
        "sent": len(timed),
        "said": dict(Counter(item.answer.said for item in timed)),
        "settled": len(ends),
        "seconds": round(seconds, 4),
        "p50_ms": _rounded(percentile(latencies, 0.5)),
        "p95_ms": _rounded(percentile(latencies, 0.95)),
        "accept_p50_ms": _rounded(percentile(answers, 0.5)) if has_settler else None,
        "accept_p95_ms": _rounded(percentile(answers, 0.95)) if has_settler else None,
        "latencies_ms": [_rounded(percentile(latencies, share)) or 0.0 for share in PERCENTILES],
        "deadlocks": watch.deadlocks,
        "retries": sum(item.answer.retries for item in timed),
        "leases_lost": sum(item.answer.leases_lost for item in timed),
        "lock_wait_ms": _wait_ms(timed, watch),
        "client_cores": _cores(customers, spent.seconds),
        "settler_cores": _cores(settler, spent.seconds),
        "machine_cores": _cores(spent.machine, spent.seconds),
        "foreign_cores": spent.foreign(customers + settler),
        "curve": _curve([end - first for end in ends.values()]),
    }


def _ends(timed: list[Timed], worked: Worked) -> dict[int, float]:
    """Return when each order was settled: by its answer, or by the settler's commit."""
    if worked.settler is not None:
        return worked.settler.settled
    return {item.number: item.ended for item in timed if item.answer.said in (PAID, *REFUSALS)}


def _wait_ms(timed: list[Timed], watch: Watch) -> float:
    """Return the time an order waited for locks: in Redis as the customers measured it, in PostgreSQL as sampled."""
    waited = sum(item.answer.waited_seconds for item in timed) + watch.waited_seconds
    return round(waited * 1_000 / len(timed), 3) if timed else 0.0


def _curve(ends: list[float]) -> list[tuple[float, int]]:
    ends = sorted(ends)
    if not ends:
        return []
    moments = [ends[-1] * place / CURVE_POINTS for place in range(CURVE_POINTS + 1)]
    return [(round(moment, 4), sum(end <= moment + 1e-9 for end in ends)) for moment in moments]


def _cores(cpu_seconds: float, seconds: float) -> float:
    return round(cpu_seconds / seconds, 2) if seconds else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
