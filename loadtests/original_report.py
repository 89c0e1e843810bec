"""
The figures of the original performance report, and each of its runs in the form of ours.

They are judged by the same rules as our own runs, so that both can stand side by side. What the report does not say is
left out; what it gives in per cent is turned into counts (two digits: exact to 0.01 % of all requests).
"""

from dataclasses import dataclass, field, replace

from loadtests import diagnosis, scenarios, verdict
from loadtests.results import Endpoint, Generator, Latency, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report's section 8: an endpoint as it was reported. Units: per cent, milliseconds."""

    endpoint: str
    requests: int
    success: float
    avg_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """One test of the report: what was asked for (section 3), its totals (5-7), its endpoints (8)."""

    target_tps: int | None
    vus: int
    minutes: int
    requests: int
    success: float
    failure: float
    avg_ms: float
    max_ms: float
    rows: list[Row] = field(default_factory=list)
    warned: bool = False


FIGURES = {
    "load": Original(
        target_tps=750,
        vus=1_000,
        minutes=5,
        requests=215_033,
        success=84.91,
        failure=15.08,
        avg_ms=114,
        max_ms=4_800,
        rows=[
            Row(endpoint="order", requests=21_686, success=0, avg_ms=114, max_ms=4_800),
            Row(endpoint="charge", requests=10_758, success=0, avg_ms=114, max_ms=4_800),
            Row(endpoint="products", requests=43_000, success=97, avg_ms=114, max_ms=1_200),
        ],
    ),
    "stress": Original(
        target_tps=None,
        vus=1_500,
        minutes=14,
        requests=100_918,
        success=82.85,
        failure=17.14,
        avg_ms=3_710,
        max_ms=35_750,
        rows=[
            Row(endpoint="order", requests=9_961, success=0, avg_ms=3_710, max_ms=35_750),
            Row(endpoint="charge", requests=4_995, success=0, avg_ms=3_710, max_ms=35_750),
            Row(endpoint="products", requests=32_000, success=97, avg_ms=320, max_ms=5_100),
        ],
    ),
    "peak": Original(
        target_tps=850,
        vus=600,
        minutes=5,
        requests=37_776,
        success=23.51,
        failure=76.48,
        avg_ms=3_780,
        max_ms=18_050,
        rows=[
            Row(endpoint="order", requests=2_143, success=0, avg_ms=3_780, max_ms=18_050),
            Row(endpoint="coupon", requests=26_749, success=0, avg_ms=3_780, max_ms=18_050),
            Row(endpoint="products", requests=12_000, success=98, avg_ms=310, max_ms=3_500),
            Row(endpoint="balance", requests=1_200, success=95, avg_ms=3_780, max_ms=18_050),
        ],
        warned=True,
    ),
}


def judged(scenario: str) -> Run:
    """Return the original's run of a scenario with verdict and diagnosis by our rules."""
    run = as_run(scenario)
    return replace(run, verdict=verdict.judge(run), diagnosis=diagnosis.diagnose(run))


def as_run(scenario: str) -> Run:
    """Return one of the report's tests in the form of our runs."""
    said = FIGURES[scenario]
    seconds = said.minutes * 60.0
    failed = round(said.requests * said.failure / 100)
    total = Endpoint(
        name="all",
        requests=said.requests,
        outcomes={"done": said.requests - failed, "server_fault": failed},
        latency=Latency(avg=said.avg_ms, max=said.max_ms),
    )
    planned = round(said.target_tps * seconds) if said.target_tps else said.requests
    return Run(
        scenario=scenario,
        started_at="",
        seconds=seconds,
        plan={"rate": said.target_tps or 0, "vus": said.vus},
        objectives=scenarios.book()["objectives"],
        machine={},
        endpoints=[*(_endpoint(row) for row in said.rows), total],
        generator=Generator(planned=planned, started=said.requests, dropped=0, vus_limit=said.vus, warned=said.warned),
    )


def _endpoint(row: Row) -> Endpoint:
    done = round(row.requests * row.success / 100)
    return Endpoint(
        name=row.endpoint,
        requests=row.requests,
        outcomes={"done": done, "server_fault": row.requests - done},
        latency=Latency(avg=row.avg_ms, max=row.max_ms),
    )
