"""
Classes of outcome, and how k6's summary becomes numbers per endpoint.

k6 classifies each answer as it comes (k6/lib/outcomes.js); here the counts are read and nothing is judged again.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from loadtests.results import Endpoint, Latency

OUTCOMES = ("done", "refused", "contention", "server_fault", "timeout", "generator")
UNEXPECTED = ("server_fault", "timeout", "generator")
BOUNDS_MS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000)
"""Upper bounds of the latency classes k6 counts (k6/lib/measures.js); one more class is open to the top."""

Metrics = Mapping[str, Mapping[str, float]]


class UnknownSummary(Exception):
    """k6 wrote a summary that this version does not understand."""


def list_endpoints(metrics: Metrics, names: list[str]) -> list[Endpoint]:
    """Return the endpoints that were asked, and `all` as the last. Raises UnknownSummary."""
    if "latency_all" not in metrics and "iterations" in metrics:
        raise UnknownSummary("k6's summary has no latencies: did every request fail before it was sent?")
    found = [_endpoint(metrics, name) for name in names]
    asked = [endpoint for endpoint in found if endpoint.requests]
    together: dict[str, int] = {}
    for endpoint in asked:
        for outcome, count in endpoint.outcomes.items():
            together[outcome] = together.get(outcome, 0) + count
    return [
        *asked,
        Endpoint(
            name="all",
            requests=sum(endpoint.requests for endpoint in asked),
            outcomes=together,
            latency=latency_in(metrics.get("latency_all", {})),
        ),
    ]


def _endpoint(metrics: Metrics, name: str) -> Endpoint:
    counter = f"answers_{name}"
    counted = _by_kind(metrics, counter)
    return Endpoint(
        name=name,
        requests=count_of(metrics, counter),
        outcomes=_summed(counted, lambda outcome, _status, _code: outcome),
        statuses=_summed(counted, lambda _outcome, status, _code: status),
        codes=_summed(counted, lambda _outcome, _status, code: code),
        latency=latency_in(metrics.get(f"latency_{name}", {})),
    )


def count_of(metrics: Metrics, name: str) -> int:
    """Return a counter's value, 0 if k6 never saw it."""
    return int(metrics.get(name, {}).get("count", 0))


def longest(metrics: Metrics, name: str) -> float | None:
    """Return the highest value of a trend in seconds, None if k6 never saw it."""
    latest = latency_in(metrics.get(name, {})).max
    return None if latest is None else round(latest / 1000, 2)


def _by_kind(metrics: Metrics, counter: str) -> list[tuple[str, str, str, int]]:
    """Return (outcome, status, code, count) of every kind k6 counted (k6/lib/outcomes.js)."""
    start, end = f"{counter}{{kind:", "}"
    kinds = [name[len(start) : -len(end)] for name in metrics if name.startswith(start)]
    counted = []
    for kind in kinds:
        outcome, status, code = kind.split("/")
        counted.append((outcome, status, code, count_of(metrics, f"{start}{kind}{end}")))
    return counted


def _summed(counted: list[tuple[str, str, str, int]], part: Callable[[str, str, str], str]) -> dict[str, int]:
    """Return the counts by one part of their kinds, without what was never seen."""
    sums: dict[str, int] = {}
    for outcome, status, code, count in counted:
        if count and (named := part(outcome, status, code)):
            sums[named] = sums.get(named, 0) + count
    return sums


def latency_in(values: Mapping[str, float]) -> Latency:
    """Return a trend's statistics, rounded to a hundredth of a millisecond."""

    def rounded(name: str) -> float | None:
        return round(values[name], 2) if values.get("count") and name in values else None

    return Latency(
        avg=rounded("avg"), p50=rounded("med"), p95=rounded("p(95)"), p99=rounded("p(99)"), max=rounded("max")
    )


def percentile(classes: list[int], share: float) -> float | None:
    """
    Return the latency below which `share` of the answers lie, by interpolation in its class; None without answers.

    Shapes: classes has one count per bound of BOUNDS_MS and one for what is slower; those count as the last bound.
    Units: milliseconds.
    """
    wanted, seen = sum(classes) * share, 0.0
    if not wanted:
        return None
    for position, count in enumerate(classes):
        if count and seen + count >= wanted:
            top = float(BOUNDS_MS[min(position, len(BOUNDS_MS) - 1)])
            bottom = float(BOUNDS_MS[position - 1]) if position else 0.0
            return bottom + (top - bottom) * (wanted - seen) / count
        seen += count
    return float(BOUNDS_MS[-1])


def odd_answers(log: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the odd answers k6 logged, with their bodies: the first of each endpoint and status."""
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for line in log.splitlines():
        if line.startswith("odd {"):
            said = json.loads(line.removeprefix("odd "))
            first.setdefault((said["endpoint"], said["status"]), said)
    return list(first.values())[:limit]


def claims_seen(log: str) -> dict[int, int]:
    """Return when the client had its 202 for the sampled claims: issuance id -> milliseconds since 1970."""
    words = (line.split() for line in log.splitlines() if line.startswith("claim "))
    return {int(issuance_id): int(at_ms) for _claim, issuance_id, at_ms in words}
