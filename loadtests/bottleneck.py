"""
Which resource was at its limit first, told from the samples.

A resource counts as saturated from the first of five readings in a row of which four are at its limit: one busy second
is not a bottleneck. The particular stands before the general: where the web processes are at their limit at the moment
the machine is, the web processes are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.results import Sample, Saturation, series

WINDOW, NEEDED = 5, 4
BUSY_SHARE, ALL_BUT_A_LITTLE = 0.9, 0.95
LOCK_WAITS = 5  # backends waiting for a lock at once; one or two are the stages taking turns
CLAIMS_WAITING = 2_000  # ten batches: more than a second of recording
PARTS = ("web", "worker", "beat", "postgres", "redis", "metrics", "k6", "runner", "others")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that can run out: the series that shows it and its limit."""

    name: str
    series: str
    limit: float


def resources(*, machine: Mapping[str, Any], objectives: Mapping[str, Any]) -> list[Resource]:
    """
    Return what is watched; `machine` is the run's (cores, processes by part, max_connections).

    Shop and generator may be kept on CPUs of their own: each is held against those it may use.
    """
    cores, processes = float(machine["cores"]), machine.get("processes", {})
    of_shop, of_k6 = (float(machine.get(name, cores)) for name in ("cores_shop", "cores_k6"))
    found = [
        Resource(name="connections", series="connections", limit=BUSY_SHARE * machine.get("max_connections", 0)),
        Resource(name="locks", series="lock_waits", limit=LOCK_WAITS),
        Resource(name="web", series="cpu_web", limit=_cpu_limit(processes.get("web", 0) - 1, of_shop)),
        Resource(name="worker", series="cpu_worker", limit=_cpu_limit(processes.get("worker", 0) - 1, of_shop)),
        Resource(name="redis", series="cpu_redis", limit=BUSY_SHARE),  # one thread executes commands
        Resource(name="postgres", series="cpu_postgres", limit=BUSY_SHARE * of_shop),
        Resource(name="k6", series="cpu_k6", limit=BUSY_SHARE * of_k6),
        Resource(name="shop", series="cpu_shop", limit=ALL_BUT_A_LITTLE * of_shop),
        Resource(name="machine", series="cpu_machine", limit=ALL_BUT_A_LITTLE * cores),
        Resource(name="orders", series="oldest_order", limit=objectives["orders_settled_p95_ms"] / 1000),
        Resource(name="claims", series="claims_waiting", limit=CLAIMS_WAITING),
    ]
    return [resource for resource in found if resource.limit > 0]


def _cpu_limit(processes: int, cores: float) -> float:
    """Return what so many Python processes can use: one interpreter lock each, so one CPU each at most."""
    return BUSY_SHARE * min(max(processes, 1), cores)


def find_saturations(
    samples: list[Sample], *, machine: Mapping[str, Any], objectives: Mapping[str, Any]
) -> list[Saturation]:
    """Return the resources at their limit, the first one first."""
    found = []
    for resource in resources(machine=machine, objectives=objectives):
        readings = series(samples, resource.series)
        since = _since(readings, resource.limit)
        if since is not None:
            after = [value for at, value in readings if at >= since]
            level = round(sum(after) / len(after), 3)
            found.append(Saturation(resource=resource.name, at=since, level=level, limit=round(resource.limit, 3)))
    return sorted(found, key=lambda item: item.at)  # stable: of two at once, the particular stays first


def _since(readings: list[tuple[float, float]], limit: float) -> float | None:
    full = [value >= limit for _at, value in readings]
    for position in range(len(full) - WINDOW + 1):
        if full[position] and sum(full[position : position + WINDOW]) >= NEEDED:
            return readings[position][0]
    return None


def cpu_shares(samples: list[Sample], since: float = 0.0) -> dict[str, float]:
    """Return the CPUs each part used on average from a moment on, the busiest first."""
    shares = {}
    for part in PARTS:
        values = [value for at, value in series(samples, f"cpu_{part}") if at >= since]
        if values:
            shares[part] = sum(values) / len(values)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def memory_growth(samples: list[Sample]) -> dict[str, tuple[float, float]]:
    """Return per part the median memory (MB) of the first and the last tenth of the run."""
    found = {part: drift(samples, f"memory_{part}") for part in PARTS}
    return {part: ends for part, ends in found.items() if ends}


def drift(samples: list[Sample], name: str) -> tuple[float, float] | None:
    """Return the medians of a series in the first and the last tenth of the samples that have it."""
    having = [sample for sample in samples if name in sample.values]
    tenth = max(1, len(having) // 10)
    first, last = _median(having[:tenth], name), _median(having[-tenth:], name)
    return None if first is None or last is None else (first, last)


def _median(samples: list[Sample], name: str) -> float | None:
    values = sorted(value for _at, value in series(samples, name))
    return values[len(values) // 2] if values else None
