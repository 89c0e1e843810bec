"""
An overload, phase by phase: what was asked, answered in time, refused; and what that says about the shop.

Note [Goodput is work]
~~~~~~~~~~~~~~~~~~~~~~
Who turns browsing away and takes orders instead gives fewer answers and does more: an order costs as much as ten
product lists. Answers a second would fall by design, and a shop that refused all orders would shine. So each answer in
time counts with what its request costs the whole shop (`cost_us` in k6/scenarios.json: the time of the shop's one CPU
per request, where that request alone kept it from 70 to 93 % busy), and goodput is their sum. Only the ratios matter.

Note [Rounds]
~~~~~~~~~~~~~
A rented machine may lose half of its speed for some seconds, and a single hold at three times the capacity would be
judged by when that happened. So once, twice and three times follow each other in three rounds, and what is said of a
factor is the median of its rounds; what goodput is missing is asked in each round of its own best, because the rounds
of one run differed by a third. The time before and after is a usual day: seven tenths of the capacity, because at
the capacity itself any such moment is an overload.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from loadtests import scenarios
from loadtests.outcomes import Metrics, count_of, latency_in
from loadtests.results import Phase
from loadtests.scenarios import Plan, Stretch

KINDS = ("good", "late", "shed", "error")
CLASSES = {
    "browse": ("list", "top_selling", "detail"),
    "claims": ("coupon",),
    "orders": ("order", "charge"),
    "own": ("balance",),
}
"""Endpoints by worth; the first class is refused first (shop/admission.py)."""
ENOUGH_TO_TELL = 20  # of fewer requests neither a share nor a p99 says anything
Window = tuple[datetime, datetime]


def phases_in(metrics: Metrics, plan: Plan) -> list[Phase]:
    """Return the plan's phases with what k6 counted in them (k6/lib/phases.js)."""
    costs = {name: float(item["cost_us"]) for name, item in scenarios.endpoints().items() if "cost_us" in item}
    return [_phase(stretch, metrics, plan.mix, costs) for stretch in plan.phases]


def _phase(stretch: Stretch, metrics: Metrics, mix: Mapping[str, float], costs: Mapping[str, float]) -> Phase:
    answers = {endpoint: _answers(metrics, stretch.name, endpoint) for endpoint in mix}
    good_us = sum(counts["good"] * costs[endpoint] for endpoint, counts in answers.items())
    all_us = sum(sum(counts.values()) * costs[endpoint] for endpoint, counts in answers.items())
    return Phase(
        name=stretch.name,
        factor=stretch.factor,
        begin=round(stretch.begin, 3),
        seconds=round(stretch.seconds, 3),
        answers=answers,
        work=round(good_us / 1_000_000 / stretch.seconds, 4),
        wanted=round(all_us / 1_000_000 / stretch.seconds, 4),
        accepted=latency_in(metrics.get(f"accepted_{stretch.name}", {})),
        refused=latency_in(metrics.get(f"refused_{stretch.name}", {})),
    )


def _answers(metrics: Metrics, phase: str, endpoint: str) -> dict[str, int]:
    return {kind: count_of(metrics, f"phase_{phase}{{kind:{endpoint}/{kind}}}") for kind in KINDS}


def windows_in(metrics: Metrics, plan: Plan) -> list[Window]:
    """Return from when until when each phase went, by this machine's clock; nothing if k6 did not begin."""
    began_ms = metrics.get("began_at", {}).get("value")
    if not began_ms:
        return []
    began = datetime.fromtimestamp(began_ms / 1000, UTC)
    ends = [(phase.begin, phase.begin + phase.seconds) for phase in plan.phases]
    return [(began + timedelta(seconds=since), began + timedelta(seconds=until)) for since, until in ends]


# --- what it says ---------------------------------------------------------------------------------------------------


def shed_share(phase: Phase, worth: str) -> float | None:
    """Return the share of a class that was refused, None if hardly anybody asked."""
    asked = phase.count(of=CLASSES[worth])
    return phase.count("shed", of=CLASSES[worth]) / asked if asked >= ENOUGH_TO_TELL else None


def measured(phases: Sequence[Phase]) -> dict[str, float | None]:
    """Return what the objectives of an overload are held against, by name; nothing for other runs."""
    if not phases:
        return {}
    last = phases[-1]
    refusing = [phase for phase in phases if phase.factor > 1 and phase.count("shed") >= ENOUGH_TO_TELL]
    return {
        "goodput_lost_share": goodput_lost(phases),
        "accepted_p99_ms": _highest(by_factor(phases, lambda phase: phase.accepted.p99).values()),
        "refused_p99_ms": _highest(by_factor(refusing, lambda phase: phase.refused.p99).values()),
        "out_of_order_share": max(map(out_of_order, phases)),
        "orders_settled_p95_ms": _highest(phase.settled_p95_ms for phase in phases),
        "after_unserved_share": 1 - last.count("good") / last.count() if last.count() else 1.0,
        "after_p95_ms": last.accepted.p95,
    }


def by_factor(phases: Sequence[Phase], value: Callable[[Phase], float | None]) -> dict[float, float]:
    """Return the median of a value over the rounds of each factor. See Note [Rounds]."""
    values = defaultdict(list)
    for phase in phases:
        if (found := value(phase)) is not None:
            values[phase.factor].append(found)
    return {factor: statistics.median(found) for factor, found in values.items()}


def goodput_shares(phases: Sequence[Phase]) -> list[tuple[Phase, float]]:
    """Return each phase with its share of the best goodput of its round. See Note [Rounds]."""
    best: dict[str, float] = {}
    for together in reversed(_rounds(phases)):  # one phase may stand in several rounds: the first one is its own
        best |= {phase.name: max(other.work for other in together) or 1.0 for phase in together}
    return [(phase, phase.work / best[phase.name]) for phase in phases]


def goodput_lost(phases: Sequence[Phase]) -> float:
    """
    Return how much of a round's best goodput is missing at the worst of the factors with too much to do.

    Of less than the best was asked for, less cannot be missing: a shop that served everybody has lost nothing.
    """
    lost = defaultdict(list)
    for together in _rounds(phases):
        best = max(phase.work for phase in together)
        for phase in together:
            if phase.factor > 1:
                possible = min(best, phase.wanted)
                lost[phase.factor].append(1 - phase.work / possible if possible else 1.0)
    return max(map(statistics.median, lost.values()), default=0.0)


def _rounds(phases: Sequence[Phase]) -> list[list[Phase]]:
    """Return what ran at about the same speed of the machine: the first phase of each factor, the second, and so on."""
    found = defaultdict(list)
    for phase in phases:
        found[phase.factor].append(phase)
    count = max(map(len, found.values()), default=0)
    return [[same[min(number, len(same) - 1)] for same in found.values()] for number in range(count)]


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def out_of_order(phase: Phase) -> float:
    """Return by how much a class was refused more often than one that is worth less, at most; 0 if none was."""
    least, most_too_many = 1.0, 0.0
    for worth in CLASSES:
        if (share := shed_share(phase, worth)) is not None:
            most_too_many = max(most_too_many, share - least)
            least = min(least, share)
    return most_too_many
