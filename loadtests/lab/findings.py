"""What the figures say, as sentences computed from them."""

from collections.abc import Iterator

from loadtests.lab.answers import GAVE_UP, TIMED_OUT
from loadtests.lab.market import WORKLOADS
from loadtests.lab.results import Report, Summary
from loadtests.lab.texts import text

CARRIED_SHARE = 0.95  # of the given rate; below it the strategy did not keep up
MANY_RETRIES = 0.5  # for each order settled
FOREIGN_SHARE = 0.1  # of the CPUs, on average; above it the machine was not the lab's own
CLIENT_SHARE = 0.3  # of the CPUs; above it the customers themselves weigh on what is measured


def findings(report: Report, language: str) -> list[str]:
    """Return the sentences, the comparisons first."""
    return [
        *_disturbed(report, language),
        *_clean(report, language),
        *_compared(report, language),
        *_troubles(report, language),
        *_client_bound(report, language),
    ]


def _disturbed(report: Report, language: str) -> Iterator[str]:
    cores = report.conditions["cores"]
    if report.foreign_cores > FOREIGN_SHARE * cores:
        yield text("sentences", "disturbed", language, foreign=report.foreign_cores, all=cores)


def _clean(report: Report, language: str) -> Iterator[str]:
    if not report.violations:
        orders = sum(run.sent for run in report.runs)
        yield text("sentences", "clean", language, runs=len(report.runs), orders=orders)


def _compared(report: Report, language: str) -> Iterator[str]:
    for workload in report.workloads:
        rows = {row.strategy: row for row in report.under(workload)}
        said = {"workload": text("short", workload, language)}
        base = rows.get("multilock")
        best = max(rows.values(), key=lambda row: row.rate)
        if WORKLOADS[workload].orders_per_second is None and base and base.rate and best is not base:
            name = text("strategies", best.strategy, language)
            figures = {"best": name, "rate": best.rate, "base": base.rate, "ratio": best.rate / base.rate}
            yield text("sentences", "fastest", language, **said, **figures)
        if "batch" in rows and "for-update" in rows:
            batch, other = rows["batch"].middle("p50_ms"), rows["for-update"].middle("p50_ms")
            yield text("sentences", "latency", language, **said, batch=batch, other=other)
            answer = rows["batch"].middle("accept_p50_ms")
            yield text("sentences", "answer", language, **said, batch=batch, answer=answer)


def _troubles(report: Report, language: str) -> Iterator[str]:
    for row in report.summaries:
        short, name = text("short", row.workload, language), text("strategies", row.strategy, language)
        for key, values in _troubles_of(row):
            yield text("sentences", key, language, workload=short, strategy=name, **values)


def _troubles_of(row: Summary) -> Iterator[tuple[str, dict[str, float]]]:
    timed_out, asked = row.count(TIMED_OUT, GAVE_UP), WORKLOADS[row.workload].orders_per_second
    settled = row.total("settled")
    if timed_out:
        yield "timeouts", {"count": timed_out, "sent": row.total("sent")}
    if deadlocks := row.total("deadlocks"):
        yield "deadlocks", {"count": deadlocks}
    if leases_lost := row.total("leases_lost"):
        yield "leases_lost", {"count": leases_lost}
    if asked and row.rate < asked * CARRIED_SHARE:
        yield "not_carried", {"rate": row.rate, "asked": asked}
    if settled and row.total("retries") / settled > MANY_RETRIES:
        yield "retries", {"retries": row.total("retries") / settled}


def _client_bound(report: Report, language: str) -> Iterator[str]:
    """Say where the customers, who share the machine, took much of it."""
    cores = report.conditions["cores"]
    for workload in report.workloads:
        used = [row.middle("client_cores") or 0.0 for row in report.under(workload)]
        if max(used) > CLIENT_SHARE * cores:
            values = {"least": min(used), "most": max(used), "all": cores}
            yield text("sentences", "client_bound", language, workload=text("short", workload, language), **values)
