"""What the lab found out, as data: one Measured per run, and what the runs of one strategy come to."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

FORMAT = 1
FILE_NAME = "report.json"
CURVE_POINTS = 60
PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    One run of one strategy.

    Units: milliseconds where the name says so; `seconds` from the first order sent to the last one settled. Latencies
    end when an order is settled or has failed; `latencies_ms` are those of PERCENTILES. `curve` is (second, orders
    settled until then); `lock_wait_ms` is per order sent. The cores are CPU seconds per second; `foreign_cores` were
    kept busy by programs outside the lab, None where engines that are not the lab's hide that.
    """

    strategy: str
    workload: str
    round: int
    sent: int
    said: dict[str, int]
    refused: dict[str, int]
    settled: int
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    accept_p50_ms: float | None
    accept_p95_ms: float | None
    latencies_ms: list[float]
    deadlocks: int
    retries: int
    leases_lost: int
    lock_wait_ms: float
    client_cores: float
    settler_cores: float
    machine_cores: float
    foreign_cores: float | None
    curve: list[tuple[float, int]]
    violations: list[str] = field(default_factory=list)

    @property
    def settled_per_second(self) -> float:
        return self.settled / self.seconds if self.seconds else 0.0

    def count(self, *said: str) -> int:
        return sum(self.said.get(word, 0) for word in said)


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of one strategy under one workload: medians of what varies, sums of what should be nothing."""

    strategy: str
    workload: str
    rounds: list[Measured]

    def middle(self, name: str) -> float | None:
        """Return the median over the rounds that measured it."""
        values = [value for run in self.rounds if (value := getattr(run, name)) is not None]
        return median(values) if values else None

    def total(self, name: str) -> int:
        return sum(getattr(run, name) for run in self.rounds)

    def count(self, *said: str) -> int:
        return sum(run.count(*said) for run in self.rounds)

    @property
    def rate(self) -> float:
        """Orders settled per second, the median round's."""
        return self.middle("settled_per_second") or 0.0

    @property
    def spread(self) -> tuple[float, float]:
        rates = [run.settled_per_second for run in self.rounds]
        return min(rates), max(rates)

    @property
    def violations(self) -> list[str]:
        return [violation for run in self.rounds for violation in run.violations]

    @property
    def typical(self) -> Measured:
        """The round whose rate is the median (of an even number: the lower one)."""
        return sorted(self.rounds, key=lambda run: run.settled_per_second)[(len(self.rounds) - 1) // 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one `manage.py locklab` measured, and under which conditions."""

    started_at: str
    seconds: float
    conditions: dict[str, Any]
    runs: list[Measured]

    @property
    def summaries(self) -> list[Summary]:
        """One per workload and strategy, in the order they were first run."""
        groups: dict[tuple[str, str], list[Measured]] = {}
        for run in sorted(self.runs, key=lambda run: run.round):
            groups.setdefault((run.workload, run.strategy), []).append(run)
        return [Summary(strategy, workload, runs) for (workload, strategy), runs in groups.items()]

    def under(self, workload: str) -> list[Summary]:
        return [summary for summary in self.summaries if summary.workload == workload]

    @property
    def workloads(self) -> list[str]:
        return list(Counter(run.workload for run in self.runs))

    @property
    def foreign_cores(self) -> float:
        """Return the CPUs that programs outside the lab kept busy, on average over the runs that could tell."""
        known = [(run.foreign_cores, run.seconds) for run in self.runs if run.foreign_cores is not None]
        seconds = sum(lasted for _cores, lasted in known)
        return round(sum(cores * lasted for cores, lasted in known) / seconds, 2) if seconds else 0.0

    @property
    def violations(self) -> list[str]:
        """Everything the audits found, with where."""
        return [
            f"{summary.workload}, {summary.strategy}: {violation}"
            for summary in self.summaries
            for violation in summary.violations
        ]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile of sorted values."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None


def write(report: Report, directory: Path) -> Path:
    """Write the report as JSON; return the file."""
    file = directory / FILE_NAME
    document = {"format": FORMAT} | dataclasses.asdict(report)
    file.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return file
