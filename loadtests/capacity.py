"""
The highest rate that still meets every objective: a ramp of short runs until one fails, then bisection.

Each probe is a whole run with campaigns of its own: it waits until all is settled and is reconciled; the audit follows
the last one. What a probe missed stands in the report; the run reported in full is the best one that met everything.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from django.utils import timezone

from loadtests import runner, verdict
from loadtests.progress import LiveLine
from loadtests.results import AuditResult, Finding, Probe, Run, Verdict
from loadtests.runner import Shop
from loadtests.scenarios import Plan
from loadtests.supplies import Supplies, with_new_campaigns
from loadtests.texts import say

MOST_PROBES = 20


def next_rate(probes: list[Probe], *, first: int, growth: float, precision: float, most: int) -> int | None:
    """
    Return the rate to try next, None when the answer is known.

    A rate is missed when it misses twice: one bad second of the machine must not halve the answer.

    Shapes: precision is the share of the answer by which it may be too low.
    Units: requests a second.
    """
    met = max((probe.rate for probe in probes if probe.met), default=0)
    misses = Counter(probe.rate for probe in probes if not probe.met and probe.rate > met)
    missed = min((rate for rate, count in misses.items() if count > 1), default=None)
    if len(probes) >= MOST_PROBES or met >= most:
        return None
    if probes and misses[probes[-1].rate] == 1:
        return probes[-1].rate
    if missed is None:
        return min(most, round(met * growth)) if met else first
    if missed <= met or missed - met <= max(1, precision * met) or missed < 2:
        return None
    return (met + missed) // 2


def search(plan: Plan, *, shop: Shop, supplies: Supplies, directory: Path, line: LiveLine) -> Run:
    """Return the best run, with all probes. Raises NoGenerator, UnknownSummary."""
    growth, precision = plan.numbers["growth"], plan.numbers["precision"]
    first, most = plan.number("first_rate"), plan.number("rate")
    probes: list[Probe] = []
    runs: list[Run] = []
    while (rate := next_rate(probes, first=first, growth=growth, precision=precision, most=most)) is not None:
        place = directory / f"{len(probes) + 1:02d}-at-{rate}"
        place.mkdir(exist_ok=True)
        if "coupon" in plan.mix:
            supplies = with_new_campaigns(supplies, plan, now=timezone.now())
        run = runner.measure(plan.at_rate(rate), shop=shop, supplies=supplies, directory=place, line=line, audits=False)
        probe = probe_of(run, rate)
        probes.append(probe)
        runs.append(run)
        line.say(f"{rate:,}/s: {'met' if probe.met else say(probe.reasons[0], 'en')}")
    best = conclude(runs, probes)
    return best if plan.objectives.get("stateless") else audited(best, runner.audit(line))


def probe_of(run: Run, rate: int) -> Probe:
    """Return what the search keeps of a run."""
    word = run.verdict.word if run.verdict else ""
    return Probe(
        rate=rate,
        seconds=run.seconds,
        met=word == "PASS",
        p95_ms=run.overall.p95,
        settled_p95_ms=run.orders.latency.p95 if run.orders else None,
        dropped=run.generator.dropped,
        reasons=list(run.verdict.reasons) if run.verdict else [],
    )


def audited(best: Run, audit: AuditResult) -> Run:
    """Return the answer with the audit of all probes: a rate that left wrong data behind was not carried."""
    best = replace(best, audit=audit)
    return replace(best, verdict=verdict.judge(best)) if audit.violations else best


def conclude(runs: list[Run], probes: list[Probe]) -> Run:
    """
    Return the best run under the search's own verdict; if none met everything, the slowest as it was judged.

    A run that lost what it had acknowledged stands before all others: no rate makes up for that.
    """
    for run in runs:
        if verdict.find_lost(run):
            return replace(run, probes=probes)
    met = [(probe.rate, run) for probe, run in zip(probes, runs, strict=True) if probe.met]
    if not met:
        return replace(runs[-1], probes=probes)
    rate, best = max(met, key=lambda pair: pair[0])
    reason = Finding(key="capacity_found", values={"rate": rate, "probes": len(probes)})
    return replace(best, probes=probes, verdict=Verdict(word="PASS", reasons=[reason]))
