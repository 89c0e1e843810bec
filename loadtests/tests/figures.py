"""Runs made of figures alone, for tests of what the report says about them."""

from dataclasses import replace
from typing import Any

from loadtests import reconciliation, scenarios
from loadtests.ledgers import Ledger
from loadtests.results import AuditResult, Endpoint, Generator, Latency, Run, Sample, Settlement
from loadtests.runner import judged

FAST = Latency(avg=20.0, p50=12.0, p95=60.0, p99=90.0, max=200.0)
SETTLED = Latency(avg=120.0, p50=100.0, p95=300.0, p99=500.0, max=900.0)

ORDERS = Settlement(accepted=100, results={"paid": 98, "out_of_stock": 2}, measured=100, latency=SETTLED)


def endpoint(name: str, requests: int, status: str, **outcomes: int) -> Endpoint:
    """Return an endpoint whose answers all had one status."""
    latency = replace(FAST, avg=10.0 + len(name))  # no two endpoints are equally fast
    return Endpoint(name=name, requests=requests, outcomes=outcomes, statuses={status: requests}, latency=latency)


def all_of(parts: list[Endpoint], latency: Latency = FAST) -> Endpoint:
    outcomes: dict[str, int] = {}
    for part in parts:
        for outcome, count in part.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return Endpoint(name="all", requests=sum(part.requests for part in parts), outcomes=outcomes, latency=latency)


def second(at: float, **values: float) -> Sample:
    usual = {"tps": 100.0, "p50": 12.0, "p95": 60.0, "cpu_web": 0.4, "cpu_machine": 0.9, "oldest_order": 0.2}
    return Sample(at=at, values=usual | values, classes=[0, 10, 60, 20, 5, 5, *[0] * 11])


def sound(**changes: Any) -> Run:
    """Return a load run of ten seconds in which all went well; `changes` replace its fields before it is judged."""
    parts = [
        endpoint("list", 850, "200", done=850),
        endpoint("order", 100, "202", done=100),
        endpoint("charge", 50, "200", done=50),
    ]
    plan = scenarios.plan_for("load", {"rate": 100, "duration_s": 10, "ramp_s": 0, "vus": 100})
    run = Run(
        scenario="load",
        started_at="2026-05-01T00:00:00Z",
        seconds=10.0,
        plan=dict(plan.numbers) | {"mix": dict(plan.mix)},
        objectives=dict(plan.objectives),
        machine={"cores": 2, "processes": {"web": 3, "worker": 3}, "max_connections": 100},
        endpoints=[*parts, all_of(parts)],
        generator=Generator(planned=1_000, started=1_000, dropped=0, vus_limit=100, vus_most=9, wait_ms=0.4, cpus=0.3),
        orders=ORDERS,
        lines=lines(parts, rows=100),
        audit=AuditResult(checked=28, violations=[]),
        settled_within_s=0.4,
        samples=[second(float(at)) for at in range(1, 11)],
    )
    return judged(replace(run, **changes))


def lines(parts: list[Endpoint], *, rows: int, orders: Settlement = ORDERS) -> list[Any]:
    """Return the reconciliation with a server that agrees and `rows` orders in the database."""
    server = {(part.name, status): count for part in parts for status, count in part.statuses.items()}
    added = Ledger(server=server, rows={"orders": rows, "coupons": 0, "charges": 50, "charged": 500_000})
    return reconciliation.reconcile(endpoints=parts, charged=500_000, added=added, orders=orders)


def keys(run: Run) -> list[str]:
    """Return the keys of the verdict's reasons."""
    assert run.verdict
    return [reason.key for reason in run.verdict.reasons]
