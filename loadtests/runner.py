"""
One run from the first request to the figures: preflight, load, settling, audit, reconciliation.

The order matters: nothing is measured before one customer got through, and nothing is counted before everything
accepted has come to its end.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests import (
    bottleneck,
    diagnosis,
    ledgers,
    outcomes,
    phases,
    preflight,
    procfs,
    reconciliation,
    scenarios,
    verdict,
)
from loadtests.generator import GRACE_SECONDS, K6, generator_of, k6_version
from loadtests.progress import LiveLine, line_of
from loadtests.results import AuditResult, Generator, Phase, Run, Sample, highest, series
from loadtests.sampling import Sampler
from loadtests.scenarios import Plan
from loadtests.supplies import Supplies, token_of
from shop import db, invariants

LOOK_SECONDS = 0.5
VIOLATIONS_SHOWN = 50
LATER = AuditResult(checked=0, violations=[], unchecked=["audited once, after the last of these runs"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """
    The running shop under test; `metrics_url` is empty where it has no exporter.

    `web_dir` is set where another web than the shop's own is asked (the empty view): how to find its processes.
    """

    base_url: str
    metrics_url: str
    data_dir: Path
    web_dir: Path | None = None


def check(shop: Shop, supplies: Supplies, line: LiveLine) -> None:
    """Walk the endpoints with one customer. Raises preflight.Unfit with the first wrong answer."""
    walk = preflight.Walk(
        base_url=shop.base_url,
        user_id=supplies.guide_user,
        token=token_of(supplies.guide_user),
        product_id=supplies.guide_product,
        coupon_id=supplies.guide_coupon,
    )
    done = preflight.walk(walk)
    line.say(f"preflight: {', '.join(done)}")


def measure(plan: Plan, *, shop: Shop, supplies: Supplies, directory: Path, line: LiveLine, audits: bool = True) -> Run:
    """
    Run k6 once and return everything about it, judged; without `audits` the caller audits after its last run.

    Raises: NoGenerator, UnknownSummary.
    """
    version, started_at = k6_version(), datetime.now(UTC)
    before = ledgers.read(supplies, metrics_url=shop.metrics_url)
    k6 = K6(plan, base_url=shop.base_url, environment=supplies.environment, directory=directory)
    sampler = Sampler(k6, data_dir=shop.data_dir, web_dir=shop.web_dir)
    sampler.start()
    try:
        _watch(plan, k6, sampler, line)
        exit_code = k6.stop()
        settled_within = _settle(plan, line)
    finally:
        k6.stop()
        sampler.stop()
    metrics, seconds = k6.metrics()
    log = k6.log()
    endpoints = outcomes.list_endpoints(metrics, list(scenarios.endpoints()))
    orders = ledgers.orders_settled(supplies, since=started_at)
    claimed = outcomes.count_of(metrics, "answers_coupon{kind:done/202/}")
    coupons = ledgers.coupons_settled(supplies, accepted=claimed, seen=outcomes.claims_seen(log))
    added = ledgers.difference(before, ledgers.read(supplies, metrics_url=shop.metrics_url))
    generator = generator_of(plan, metrics, log=log, exit_code=exit_code)
    samples = aligned(sampler.samples)
    charged = outcomes.count_of(metrics, "charged_amount")
    run = Run(
        scenario=plan.scenario,
        started_at=started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(seconds, 2),
        plan=dict(plan.numbers) | {"mix": dict(plan.mix), "base_url": shop.base_url},
        objectives=dict(plan.objectives),
        machine={"k6": version} | _machine(sampler),
        endpoints=endpoints,
        generator=_seen(generator, samples),
        orders=orders if "order" in plan.mix else None,
        coupons=coupons if "coupon" in plan.mix else None,
        lines=reconciliation.reconcile(endpoints=endpoints, charged=charged, added=added, orders=orders),
        settled_within_s=settled_within,
        answered_within_s=outcomes.longest(metrics, "answered_after"),
        samples=samples,
        phases=_phases(plan, metrics, supplies),
        odd=list(outcomes.odd_answers(log)),
    )
    return judged(replace(run, audit=audit(line) if audits else LATER))


def _phases(plan: Plan, metrics: outcomes.Metrics, supplies: Supplies) -> list[Phase]:
    """Return the phases of an overload with the orders settled in each."""
    found = phases.phases_in(metrics, plan)
    settled = ledgers.settled_in(supplies, phases.windows_in(metrics, plan))
    if not settled:
        return found
    pairs = zip(found, settled, strict=True)
    return [replace(phase, settled=count, settled_p95_ms=p95) for phase, (count, p95) in pairs]


def _seen(generator: Generator, samples: list[Sample]) -> Generator:
    """Add what was seen of the generator from outside, while it sent requests."""
    loaded = [sample for sample in samples if sample.values.get("tps")]
    return replace(
        generator,
        vus_most=max(generator.vus_most, int(highest(loaded, "vus"))),
        wait_ms=_mean(loaded, "wait_k6"),
        cpus=_mean(loaded, "cpu_k6"),
    )


def _mean(samples: list[Sample], name: str) -> float | None:
    values = [value for _at, value in series(samples, name)]
    return round(sum(values) / len(values), 3) if values else None


def judged(run: Run) -> Run:
    """Return the run with what follows from its figures."""
    saturations = bottleneck.find_saturations(run.samples, machine=run.machine, objectives=run.objectives)
    run = replace(run, saturations=saturations, diagnosis=diagnosis.diagnose(run))
    return replace(run, verdict=verdict.judge(run))


def _watch(plan: Plan, k6: K6, sampler: Sampler, line: LiveLine) -> None:
    """Show what happens until k6 ends; one that outlives its plan is ended."""
    began = None
    deadline = time.monotonic() + plan.seconds + plan.numbers["timeout_s"] + GRACE_SECONDS
    while not k6.has_ended and time.monotonic() < deadline:
        sample = sampler.samples[-1] if sampler.samples else None
        if began is None and sample and sample.values.get("tps"):
            began = time.monotonic()
        line.show(line_of(plan, time.monotonic() - began if began else 0.0, sample))
        time.sleep(LOOK_SECONDS)


def _settle(plan: Plan, line: LiveLine) -> float | None:
    """Wait until nothing accepted is under way; return how long that took, None if it did not happen in time."""
    line.show("waiting until every accepted order and coupon is settled")
    began = time.monotonic()
    if not invariants.wait_until_drained(float(plan.objectives["settle_within_s"])):
        return None
    return round(time.monotonic() - began, 2)


def audit(line: LiveLine) -> AuditResult:
    """Check every invariant now."""
    line.show("auditing")
    found = invariants.audit(wait_seconds=0.0)
    shown = [str(violation) for violation in found.violations[:VIOLATIONS_SHOWN]]
    hidden = len(found.violations) - len(shown)
    more = [f"… {hidden:,} more"] if hidden else []
    line.say(f"audit: {len(found.checked)} invariants, {len(found.violations)} violations")
    return AuditResult(checked=len(found.checked), violations=shown + more, unchecked=found.unchecked)


def _machine(sampler: Sampler) -> dict[str, Any]:
    """Return what the figures were made on."""
    version, most = db.rows("SELECT current_setting('server_version'), current_setting('max_connections')::int")[0]
    return {
        "cores": procfs.cores(0, *sampler.pids),
        "cores_k6": procfs.cores(),  # k6 may use what this process may
        "cores_shop": procfs.cores(*sampler.pids),
        "memory_mb": procfs.memory_total_mb(),
        "postgres": version,
        "max_connections": most,
        "processes": sampler.process_counts,
    }


def aligned(samples: list[Sample]) -> list[Sample]:
    """Return the samples with the first second of load as second 1; what k6 needed to get ready stands before it."""
    first = next((at for at, tps in series(samples, "tps") if tps > 0), None)
    if first is None:
        return samples
    shifted = (replace(sample, at=round(sample.at - first + 1, 2)) for sample in samples)
    return [sample for sample in shifted if sample.at >= 0]
