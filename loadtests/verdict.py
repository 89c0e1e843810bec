"""
PASS, FAIL or INVALID, and why.

What is proven wrong (a lost order, a violated invariant, a fault the shop answered with) fails the run however it was
driven. Otherwise a run whose generator was starved, or whose totals do not add up, says nothing: INVALID. Only a valid
run is held against its objectives.
"""

from dataclasses import dataclass

from loadtests import phases
from loadtests.outcomes import UNEXPECTED
from loadtests.results import Finding, Run, Settlement, Verdict

MISSING_SHARE = 0.01  # of the planned iterations
LATE_SECONDS = 0.25  # k6 may be this much behind when time is up (measured: 0.1 s on a busy machine); nothing drops
ELSEWHERE = ("unexpected", "dropped_iterations", "generator_wait_ms", "settle_within_s")
"""Objectives whose breach makes a run wrong or invalid; they are not said a second time."""
GENERATOR_SHARE = 0.8  # of the CPUs it may use; a generator that takes more measures itself
THRESHOLDS_MISSED = 99  # k6's exit code; the verdict is ours, so it says nothing new
ENOUGH_TO_TELL = 20  # requests of which none succeeded: chance no longer explains it


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One promise held against what was measured; `met` is None where nothing was measured."""

    name: str
    limit: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        return None if self.measured is None else self.measured <= self.limit


def judge(run: Run) -> Verdict:
    """Return the verdict; its reasons stand in the order wrong, invalid, missed."""
    wrong, invalid, missed = find_wrong(run), find_invalid(run), find_missed(run)
    word = "FAIL" if wrong else "INVALID" if invalid else "FAIL" if missed else "PASS"
    reasons = [*wrong, *invalid, *missed]
    return Verdict(word=word, reasons=reasons or [Finding(key="all_met")])


# --- proven wrong ---------------------------------------------------------------------------------------------------


def find_wrong(run: Run) -> list[Finding]:
    """Return what no generator can be blamed for."""
    found = find_lost(run)
    if run.audit and run.audit.violations:
        found.append(Finding(key="violations", values={"count": len(run.audit.violations)}))
    found += [
        Finding(key="never_succeeded", values={"endpoint": item.name, "count": item.requests})
        for item in run.parts
        if item.requests >= ENOUGH_TO_TELL and not item.count("done", "refused", "contention")
        if item.count("server_fault")
    ]
    faults = run.total.count("server_fault")
    if faults > run.objectives["unexpected"]:
        found.append(Finding(key="server_faults", values={"count": faults, "requests": run.requests}))
    if run.settled_within_s is None and run.orders is not None:
        found.append(Finding(key="left_behind", values={"seconds": run.objectives["settle_within_s"]}))
    return found + _unsold(run)


def find_lost(run: Run) -> list[Finding]:
    """Return what was acknowledged and is not there."""
    return [
        Finding(key=f"lost_{line.fact}", values={"endpoint": line.subject, "k6": line.k6, "database": line.database})
        for line in run.lines
        if line.state == "lost"
    ]


def _unsold(run: Run) -> list[Finding]:
    """A rush must sell exactly what there was: more people came than there were pieces."""
    if not run.objectives.get("sells_out"):
        return []
    sold = []
    comers, pieces, places = (int(run.plan[name]) for name in ("rate", "stock", "hot_coupon_quantity"))
    if run.orders is not None:
        sold.append(("order", run.orders.results.get("paid", 0), pieces))
    if run.coupons is not None:
        issued = sum(count for result, count in run.coupons.results.items() if result != "rejected")
        sold.append(("coupon", issued, places))
    return [
        Finding(key="not_sold_out", values={"endpoint": what, "count": count, "there": there})
        for what, count, there in sold
        if count != min(there, comers)
    ]


# --- says nothing ---------------------------------------------------------------------------------------------------


def find_invalid(run: Run) -> list[Finding]:
    """Return why the figures cannot be trusted."""
    return _generator(run) + _unreconciled(run)


def _generator(run: Run) -> list[Finding]:
    made, limits = run.generator, run.objectives
    found = []
    if made.dropped > limits["dropped_iterations"]:
        values = {"dropped": made.dropped, "planned": made.planned, "vus": made.vus_limit}
        found.append(Finding(key="ran_out_of_vus", values=values))
    elif made.warned and not made.dropped:  # with drops that the objective allows, the warning says nothing new
        found.append(Finding(key="vus_all_busy", values={"vus": made.vus_limit}))
    missing = made.planned - made.started - made.dropped
    late = float(run.plan["rate"]) * LATE_SECONDS
    if missing > max(made.planned * MISSING_SHARE, late) + 1:
        found.append(Finding(key="behind_plan", values={"started": made.started, "planned": made.planned}))
    if made.wait_ms is not None and made.wait_ms > limits["generator_wait_ms"]:
        waited = {"wait_ms": made.wait_ms, "limit": limits["generator_wait_ms"]}
        found.append(Finding(key="generator_waited", values=waited))
    cores = run.machine.get("cores_k6", run.machine.get("cores", 0))  # earlier reports do not tell them apart
    if made.cpus is not None and made.cpus > GENERATOR_SHARE * cores:
        found.append(Finding(key="generator_took_all", values={"cpus": made.cpus, "cores": cores}))
    if failed := run.total.count("generator"):
        found.append(Finding(key="generator_failed", values={"count": failed}))
    if made.exit_code not in (0, THRESHOLDS_MISSED):
        found.append(Finding(key="generator_ended", values={"code": made.exit_code}))
    return found


def _unreconciled(run: Run) -> list[Finding]:
    if run.objectives.get("stateless"):  # nothing was written, so there is nothing to compare or to audit
        return []
    found = [
        Finding(key="does_not_reconcile", values={"what": f"{line.fact} {line.subject}"})
        for line in run.lines
        if line.state == "differs"
    ]
    if run.audit is None:
        found.append(Finding(key="not_audited"))
    if not run.lines:
        found.append(Finding(key="not_reconciled"))
    return found


# --- held against its objectives ------------------------------------------------------------------------------------


def objectives(run: Run) -> list[Objective]:
    """
    Return every objective with what was measured, in the order of the report.

    Who is asked for more than there is refuses some and is slow for others: what an overload is held against besides
    its own objectives holds for its last phase.
    """
    limits, total = run.objectives, run.total
    contention = total.count("contention") / total.requests if total.requests else None
    usual = {
        "contention_share": contention,
        "p95_ms": run.overall.p95,
        "orders_settled_p95_ms": _settled_p95(run.orders),
    }
    if run.phases:
        after = {"after_unserved_share": limits["contention_share"], "after_p95_ms": limits["p95_ms"]}
        limits = {**limits, **after}
        usual = phases.measured(run.phases)
    measured = {
        "unexpected": float(total.count(*UNEXPECTED)),
        **usual,
        "coupons_settled_p95_ms": _settled_p95(run.coupons),
        "settle_within_s": run.settled_within_s,
        "dropped_iterations": float(run.generator.dropped),
        "generator_wait_ms": run.generator.wait_ms,
        "answered_within_s": run.answered_within_s,
    }
    return [
        Objective(name=name, limit=float(limits[name]), measured=value)
        for name, value in measured.items()
        if name in limits
    ]


def _settled_p95(settlement: Settlement | None) -> float | None:
    return settlement.latency.p95 if settlement else None


def find_missed(run: Run) -> list[Finding]:
    """Return what a sound and valid run promised and did not keep."""
    timeouts = run.total.count("timeout")
    found = [] if timeouts <= run.objectives["unexpected"] else [Finding(key="timeouts", values={"count": timeouts})]
    return found + [
        Finding(key=f"missed_{item.name}", values={"measured": item.measured, "limit": item.limit})
        for item in objectives(run)
        if item.met is False and item.name not in ELSEWHERE
    ]
