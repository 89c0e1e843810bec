"""
What the failures of a run mean, told from its figures alone: the same questions for our runs and the original report's.
"""

import math

from loadtests import bottleneck
from loadtests.outcomes import UNEXPECTED
from loadtests.results import Endpoint, Finding, Run
from loadtests.verdict import ENOUGH_TO_TELL

ROUNDING = 0.0001  # percentages are reported with two digits: totals from them may be off by this share of all requests
OTHERS_SHARE = 0.1  # of the machine's CPUs, on average
SAID_SHARE = 0.95  # of the target rate; below it the run did not test what its title says


def diagnose(run: Run) -> list[Finding]:
    """Return what the figures say beyond the verdict, in the order a reader needs it."""
    return [
        *_deterministic(run),
        *_who_failed(run),
        *_generator(run),
        *_borrowed_latencies(run),
        *_sums(run),
        *_others(run),
    ]


def _dead(run: Run) -> list[Endpoint]:
    """Return the endpoints of which not one request succeeded."""
    asked = [item for item in run.parts if item.requests >= ENOUGH_TO_TELL]
    return [item for item in asked if item.count(*UNEXPECTED) == item.requests]


def _deterministic(run: Run) -> list[Finding]:
    """
    Whoever holds a lock gets through, so contention never fails everybody; a fault that does needs no load to show.
    """
    return [Finding(key="deterministic", values={"endpoint": item.name, "count": item.requests}) for item in _dead(run)]


def _who_failed(run: Run) -> list[Finding]:
    """Say whether the dead endpoints explain all failures."""
    dead, failures = _dead(run), run.total.count(*UNEXPECTED)
    if not dead:
        return []
    explained = sum(item.requests for item in dead)
    values = {
        "terms": " + ".join(f"{item.requests:,}" for item in dead),
        "explained": explained,
        "failures": failures,
        "share": math.floor(explained / run.requests * 10_000) / 10_000,  # cut off, as the original report does
        "requests": run.requests,
        "rest": failures - explained,
    }
    exact = abs(failures - explained) <= run.requests * ROUNDING + 1
    return [Finding(key="only_these_failed" if exact else "these_and_others_failed", values=values)]


def _generator(run: Run) -> list[Finding]:
    made, found = run.generator, []
    if made.warned:
        found.append(Finding(key="warning_is_the_generators", values={"vus": made.vus_limit}))
    if made.planned and run.requests < made.planned * SAID_SHARE:
        values = {"requests": run.requests, "planned": made.planned, "share": run.requests / made.planned}
        found.append(Finding(key="rate_not_reached", values=values | {"tps": run.tps, "rate": run.plan["rate"]}))
        ceiling = made.vus_limit / run.overall.avg * 1000 if run.overall.avg else math.inf
        if run.overall.avg and ceiling < run.plan["rate"]:
            values = {"vus": made.vus_limit, "seconds": run.overall.avg / 1000, "ceiling": ceiling}
            found.append(Finding(key="vus_ceiling", values=values))
    return found


def _borrowed_latencies(run: Run) -> list[Finding]:
    """Endpoints do not share mean and maximum to the millisecond: such figures are the whole run's."""
    overall = run.overall
    same = [item for item in run.parts if item.latency.avg is not None and item.latency.avg == overall.avg]
    same = [item for item in same if item.latency.max == overall.max]
    if len(same) < 2:
        return []
    values = {"count": len(same), "avg": overall.avg, "max": overall.max}
    return [Finding(key="borrowed_latencies", values=values)]


def _others(run: Run) -> list[Finding]:
    """Say when something else was at work on the machine."""
    used = bottleneck.cpu_shares(run.samples).get("others", 0.0)
    cores = run.machine.get("cores", 0)
    return [Finding(key="others_busy", values={"cpus": used, "cores": cores})] if used > OTHERS_SHARE * cores else []


def _sums(run: Run) -> list[Finding]:
    """Say where the endpoints' figures do not fit into the totals."""
    found = []
    requests = sum(item.requests for item in run.parts)
    if requests > run.requests:
        found.append(Finding(key="more_than_all", values={"parts": requests, "requests": run.requests}))
    failures, total = sum(item.count(*UNEXPECTED) for item in run.parts), run.total.count(*UNEXPECTED)
    if failures > total + run.requests * ROUNDING + 1:
        found.append(Finding(key="more_failures_than_all", values={"parts": failures, "failures": total}))
    return found
