"""
What one run found out, as data: everything the reports, the verdict and a later comparison need.

A run is written as JSON beside its report and read back by `loadtest compare`; nothing in it refers to the shop's
database.
"""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
FILE_NAME = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence of the report: its key in `texts` and the values in it."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds; None where nothing was measured."""

    avg: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """All requests to one endpoint; `outcomes` by class, `statuses` by HTTP status ("0": none), `codes` of refusals."""

    name: str
    requests: int
    outcomes: Mapping[str, int]
    statuses: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)

    def count(self, *outcomes: str) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    @property
    def unknown(self) -> int:
        """Requests whose effect the client cannot know: no answer, or a fault in the middle."""
        return sum(count for status, count in self.statuses.items() if status == "0" or status >= "500")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """
    Whether k6 did what it was asked to.

    `wait_ms` is how long its threads waited for a CPU each time they were ready to run, `cpus` what it used; `vus_most`
    the most VUs busy at once; `warned` is k6's own "Insufficient VUs".
    """

    planned: int
    started: int
    dropped: int
    vus_limit: int
    vus_most: int = 0
    wait_ms: float | None = None
    cpus: float | None = None
    warned: bool = False
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How accepted orders or coupons ended, and how long that took (milliseconds; `measured` of them)."""

    accepted: int
    results: Mapping[str, int] = field(default_factory=dict)
    unsettled: int = 0
    measured: int = 0
    latency: Latency = field(default_factory=Latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One line of the reconciliation: the same fact counted by k6, the server and the database (None: not counted there).

    `unknown` requests may have taken effect without the client knowing. `state`: `agrees`, `lost` (acknowledged, not
    there) or `differs`.
    """

    fact: str
    subject: str
    k6: int | None = None
    server: int | None = None
    database: int | None = None
    unknown: int = 0
    state: str = "agrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    checked: int
    violations: list[str]
    unchecked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One second: `at` seconds from the start; `values` by series; `classes` = answers per latency class."""

    at: float
    values: Mapping[str, float]
    classes: list[int] = field(default_factory=list)


def series(samples: list[Sample], name: str) -> list[tuple[float, float]]:
    """Return a series as (second, value), without the seconds in which it was not read."""
    return [(sample.at, sample.values[name]) for sample in samples if name in sample.values]


def highest(samples: list[Sample], name: str) -> float:
    """Return the highest value of a series, 0 if it was never read."""
    return max((value for _at, value in series(samples, name)), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One rate that the capacity search tried."""

    rate: int
    seconds: float
    met: bool
    p95_ms: float | None
    settled_p95_ms: float | None
    dropped: int
    reasons: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """
    A stretch of an overload: from second `begin` on `factor` times the run's rate; a request counts where it was sent.

    `answers` counts per endpoint what was `good` (in time), `late`, `shed` (503, come again) and `error`; `work` is
    what the good ones cost the shop, `wanted` what all would have cost, in CPUs; `settled` is how many orders were.
    """

    name: str
    factor: float
    begin: float
    seconds: float
    answers: Mapping[str, Mapping[str, int]]
    work: float = 0.0
    wanted: float = 0.0
    accepted: Latency = field(default_factory=Latency)
    refused: Latency = field(default_factory=Latency)
    settled: int | None = None
    settled_p95_ms: float | None = None

    def count(self, *kinds: str, of: Collection[str] = ()) -> int:
        """Return how many answers were of these kinds (none named: all), of these endpoints (none named: all)."""
        counted = [counts for endpoint, counts in self.answers.items() if not of or endpoint in of]
        return sum(count for counts in counted for kind, count in counts.items() if not kinds or kind in kinds)

    def per_second(self, *kinds: str) -> float:
        return self.count(*kinds) / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`word` is PASS, FAIL or INVALID; `reasons` stand below it, the gravest first."""

    word: str
    reasons: list[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """A resource at its limit: since when, how much of what, and which advice fits."""

    resource: str
    at: float
    level: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    Everything about one run; `verdict` is filled in by `verdict.judge`.

    `answered_within_s`: from the start of a rush until the last of its customers had an answer.
    """

    scenario: str
    started_at: str
    seconds: float
    plan: Mapping[str, Any]
    objectives: Mapping[str, Any]
    machine: Mapping[str, Any]
    endpoints: list[Endpoint]
    generator: Generator
    orders: Settlement | None = None
    coupons: Settlement | None = None
    lines: list[Line] = field(default_factory=list)
    audit: AuditResult | None = None
    settled_within_s: float | None = None
    answered_within_s: float | None = None
    samples: list[Sample] = field(default_factory=list)
    odd: list[Mapping[str, Any]] = field(default_factory=list)
    saturations: list[Saturation] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    diagnosis: list[Finding] = field(default_factory=list)
    verdict: Verdict | None = None

    def endpoint(self, name: str) -> Endpoint | None:
        return next((endpoint for endpoint in self.endpoints if endpoint.name == name), None)

    @property
    def total(self) -> Endpoint:
        """All requests together."""
        return self.endpoint("all") or Endpoint(name="all", requests=0, outcomes={})

    @property
    def overall(self) -> Latency:
        return self.total.latency

    @property
    def parts(self) -> list[Endpoint]:
        """The endpoints without the sum of all."""
        return [endpoint for endpoint in self.endpoints if endpoint.name != "all" and endpoint.requests]

    @property
    def requests(self) -> int:
        return self.total.requests

    @property
    def tps(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


class Unreadable(Exception):
    """The file is not a run's report.json, or of another format."""


def write(run: Run, directory: Path) -> Path:
    """Write the run as JSON; return the file."""
    file = directory / FILE_NAME
    document = {"format": FORMAT} | dataclasses.asdict(run)
    file.write_text(_lines(document), encoding="utf-8")
    return file


def _lines(document: Mapping[str, Any]) -> str:
    """Return JSON with one line per field, and per item of a list: the samples of a long run stay below a megabyte."""
    return "{\n" + ",\n".join(f"{_compact(name)}: {_value(value)}" for name, value in document.items()) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(_compact(item) for item in value) + "\n]"
    return _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read(path: Path) -> Run:
    """Return the run in a report directory or file. Raises Unreadable."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise Unreadable(f"{file} has another format; run the load test again")
        return _run(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{file} is not a load test's report: {error}") from error


def _run(document: dict[str, Any]) -> Run:
    read_as: dict[str, Callable[[Any], Any]] = {
        "endpoints": lambda items: [Endpoint(**item | {"latency": Latency(**item["latency"])}) for item in items],
        "generator": lambda item: Generator(**item),
        "orders": _settlement,
        "coupons": _settlement,
        "lines": lambda items: [Line(**item) for item in items],
        "audit": lambda item: item and AuditResult(**item),
        "samples": lambda items: [Sample(**item) for item in items],
        "saturations": lambda items: [Saturation(**item) for item in items],
        "probes": lambda items: [Probe(**item | {"reasons": _findings(item["reasons"])}) for item in items],
        "phases": lambda items: [_phase(item) for item in items],
        "diagnosis": _findings,
        "verdict": lambda item: item and Verdict(word=item["word"], reasons=_findings(item["reasons"])),
    }
    return Run(**{name: read_as[name](value) if name in read_as else value for name, value in document.items()})


def _settlement(item: dict[str, Any] | None) -> Settlement | None:
    return Settlement(**item | {"latency": Latency(**item["latency"])}) if item else None


def _phase(item: dict[str, Any]) -> Phase:
    return Phase(**item | {name: Latency(**item[name]) for name in ("accepted", "refused")})


def _findings(items: list[dict[str, Any]]) -> list[Finding]:
    return [Finding(**item) for item in items]
