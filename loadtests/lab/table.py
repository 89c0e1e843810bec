"""The table of one workload, for the terminal and for the reports."""

from collections.abc import Callable, Sequence

from loadtests.document import precise, whole
from loadtests.lab.answers import FAILURES
from loadtests.lab.market import WORKLOADS
from loadtests.lab.results import Summary
from loadtests.lab.texts import text

GAP = "  "


def _spread(row: Summary, _language: str) -> str:
    return "–".join(whole(rate) for rate in row.spread)


def _audit(row: Summary, language: str) -> str:
    count = len(row.violations)
    return text("labels", "violations", language, count=count) if count else text("labels", "clean", language)


def _cpus(row: Summary, _language: str) -> str:
    """Return the CPUs that the customers used, and the whole machine: whether it was the locks that were waited for."""
    return " / ".join(f"{row.middle(name) or 0:.1f}" for name in ("client_cores", "machine_cores"))


COLUMNS: dict[str, Callable[[Summary, str], str]] = {
    "strategy": lambda row, language: text("strategies", row.strategy, language),
    "rate": lambda row, _language: whole(row.rate),
    "spread": _spread,
    "p50": lambda row, _language: precise(row.middle("p50_ms")),
    "p95": lambda row, _language: precise(row.middle("p95_ms")),
    "accept": lambda row, _language: precise(row.middle("accept_p95_ms")),
    "deadlocks": lambda row, _language: whole(row.total("deadlocks")),
    "timeouts": lambda row, _language: whole(row.count(*(word for word in FAILURES if word != "deadlock"))),
    "retries": lambda row, _language: whole(row.total("retries")),
    "lock_wait": lambda row, _language: precise(row.middle("lock_wait_ms")),
    "refused": lambda row, _language: whole(sum(sum(run.refused.values()) for run in row.rounds)),
    "cpus": _cpus,
    "audit": _audit,
}
WORDS = (0, len(COLUMNS) - 1)  # the columns that stand on the left


def head(language: str) -> list[str]:
    return [text("columns", name, language) for name in COLUMNS]


def rows(summaries: Sequence[Summary], language: str) -> list[list[str]]:
    return [[cell(summary, language) for cell in COLUMNS.values()] for summary in summaries]


def title(workload: str, language: str) -> str:
    """Return what the workload is, in words."""
    return text("workloads", workload, language, rate=WORKLOADS[workload].orders_per_second)


def aligned(summaries: Sequence[Summary]) -> str:
    """Return the table as lines for a terminal, the strategies under the names that `--strategies` takes."""
    named = [[summary.strategy, *row[1:]] for summary, row in zip(summaries, rows(summaries, "en"), strict=True)]
    lines = [head("en"), *named]
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
    return "\n".join(
        GAP.join(_padded(line[place], widths[place], place) for place in range(len(widths))) for line in lines
    )


def _padded(cell: str, width: int, place: int) -> str:
    return cell.ljust(width) if place in WORDS else cell.rjust(width)
