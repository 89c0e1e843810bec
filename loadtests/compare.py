"""
Two runs side by side, with a noise band: a change inside it is no change.

The band of a figure that exists each second is twice the standard error of the difference of its ten-second means; no
band is narrower than 5 %, because two runs of the same code on the same machine differ by that much anyway.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests import reports
from loadtests.charts import Chart, Line
from loadtests.document import Document, Figures, Heading, Table, Text, plain, tidy
from loadtests.outcomes import UNEXPECTED
from loadtests.results import Run, series
from loadtests.texts import LANGUAGES, label, text

NARROWEST = 0.05
BLOCK_SECONDS = 10.0
FEWEST_BLOCKS = 3  # of ten seconds; fewer have no scatter worth the name
TONES = {"better": "good", "worse": "bad", "noise": "", "unknown": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure of both runs; `band` is the share within which a difference means nothing, None: nobody knows."""

    name: str
    endpoint: str
    first: float
    second: float
    band: float | None
    less_is_better: bool

    @property
    def share(self) -> float:
        """The change relative to the first run; infinite where that had nothing."""
        if self.first == self.second:
            return 0.0
        return (self.second - self.first) / self.first if self.first else math.inf

    @property
    def meaning(self) -> str:
        if self.band is None:
            return "unknown"
        if abs(self.share) <= self.band:
            return "noise"
        return "better" if (self.share < 0) == self.less_is_better else "worse"


def block_means(run: Run, name: str) -> list[float]:
    """Return the means of a series per ten seconds of load, the first left out: caches and pools fill then."""
    blocks: dict[int, list[float]] = {}
    for at, value in series(run.samples, name):
        if at <= run.seconds:
            blocks.setdefault(int(at // BLOCK_SECONDS), []).append(value)
    whole = [values for block, values in sorted(blocks.items()) if block > 0 and len(values) > BLOCK_SECONDS / 2]
    return [sum(values) / len(values) for values in whole]


def noise_band(first: list[float], second: list[float]) -> float | None:
    """Return the band around zero change, as a share of the first mean; None where the runs are too short to tell."""
    if min(len(first), len(second)) < FEWEST_BLOCKS:
        return None
    if not sum(first):
        return NARROWEST
    error = math.sqrt(_square_error(first) + _square_error(second))
    return max(NARROWEST, 2 * error / (sum(first) / len(first)))


def _square_error(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)


def changes(first: Run, second: Run) -> list[Change]:
    """Return every figure both runs have."""
    found = []
    for name, (get, sampled, less_is_better) in FIGURES.items():
        before, after = get(first), get(second)
        if before is None or after is None:
            continue
        band = noise_band(block_means(first, sampled), block_means(second, sampled)) if sampled else NARROWEST
        found.append(
            Change(name=name, endpoint="all", first=before, second=after, band=band, less_is_better=less_is_better)
        )
    return found + _per_endpoint(first, second)


def _per_endpoint(first: Run, second: Run) -> list[Change]:
    band = noise_band(block_means(first, "p95"), block_means(second, "p95"))
    found = []
    for item in first.parts:
        other = second.endpoint(item.name)
        if other and item.latency.p95 and other.latency.p95:
            before, after = item.latency.p95, other.latency.p95
            wider = (
                None if band is None else band * math.sqrt(first.requests / item.requests)
            )  # fewer requests, more scatter
            found.append(
                Change(name="p95", endpoint=item.name, first=before, second=after, band=wider, less_is_better=True)
            )
    return found


def _mean(name: str) -> Callable[[Run], float | None]:
    def get(run: Run) -> float | None:
        values = [value for at, value in series(run.samples, name) if at <= run.seconds]
        return sum(values) / len(values) if values else None

    return get


FIGURES: dict[str, tuple[Callable[[Run], float | None], str, bool]] = {
    "tps": (lambda run: run.tps, "tps", False),
    "p50": (lambda run: run.overall.p50, "p50", True),
    "p95": (lambda run: run.overall.p95, "p95", True),
    "p99": (lambda run: run.overall.p99, "p99", True),
    "unexpected": (lambda run: float(run.total.count(*UNEXPECTED)), "", True),
    "contention": (lambda run: float(run.total.count("contention")), "", True),
    "orders_settled_p95_ms": (lambda run: run.orders.latency.p95 if run.orders else None, "oldest_order", True),
    "coupons_settled_p95_ms": (lambda run: run.coupons.latency.p95 if run.coupons else None, "", True),
    "cpu_machine": (_mean("cpu_machine"), "cpu_machine", True),
    "cpu_web": (_mean("cpu_web"), "cpu_web", True),
    "cpu_worker": (_mean("cpu_worker"), "cpu_worker", True),
    "cpu_postgres": (_mean("cpu_postgres"), "cpu_postgres", True),
    "cpu_redis": (_mean("cpu_redis"), "cpu_redis", True),
}
"""Name -> how it is read, the series whose scatter gives its band (empty: none), and whether less is better."""


# --- on paper -------------------------------------------------------------------------------------------------------


def compose(first: Run, second: Run, language: str) -> Document:
    found = changes(first, second)
    rows = [_row(change, language) for change in found]
    tones = [TONES[change.meaning] for change in found]
    head = [_said(key, language) for key in ("figure", "first", "second", "change", "band", "meaning")]
    return Document(
        language=language,
        title=_said("title", language).format(scenario=first.scenario),
        facts=[f"A {_facts(first)}", f"B {_facts(second)}"],
        verdict="",
        reasons=[],
        blocks=[
            *(
                [Text(_said("differ", language).format(names=", ".join(odd)))]
                if (odd := other_terms(first, second))
                else []
            ),
            Table(head, rows, words=(0, 5), tones=tones),
            Heading(label("over_time", language)),
            Figures([_chart(first, second, *names, language) for names in CHARTS.items()]),
            Text(_said("reading", language)),
        ],
    )


CHARTS = {"tps": "chart_tps", "p95": "chart_latency", "cpu_machine": "chart_cpu", "oldest_order": "chart_oldest"}


def _chart(first: Run, second: Run, name: str, title: str, language: str) -> Chart:
    lines = [Line(label=which, points=series(run.samples, name)) for which, run in (("A", first), ("B", second))]
    return Chart(title=f"{label(title, language)} ({name})", lines=lines)


def _said(key: str, language: str) -> str:
    return text("compare", key, language)


def _facts(run: Run) -> str:
    return f"{run.scenario} {run.started_at} {run.verdict.word if run.verdict else ''}"


def _row(change: Change, language: str) -> list[str]:
    name = label(change.name, language) if change.name in NAMED_LABELS else _said(change.name, language)
    where = "" if change.endpoint == "all" else f"{label(change.endpoint, language)}: "
    moved = "–" if math.isinf(change.share) else f"{change.share:+.1%}"
    band = "–" if change.band is None else f"±{change.band:.1%}"
    meaning = _said(change.meaning, language)
    return [f"{where}{name}", tidy(change.first), tidy(change.second), moved, band, meaning]


NAMED_LABELS = (
    "tps",
    "p50",
    "p95",
    "p99",
    "unexpected",
    "contention",
    "orders_settled_p95_ms",
    "coupons_settled_p95_ms",
)


def other_terms(first: Run, second: Run) -> list[str]:
    """Return what was different besides the code: scenario, numbers of the plan, machine."""
    terms: list[tuple[str, Any, Any]] = [("scenario", first.scenario, second.scenario)]
    for before, after in ((first.plan, second.plan), (first.machine, second.machine)):
        names = [name for name in {**before, **after} if name not in ("base_url", "processes")]
        terms += [(name, before.get(name), after.get(name)) for name in names]
    return [f"{name} {plain(before)} → {plain(after)}" for name, before, after in terms if before != after]


def as_text(first: Run, second: Run) -> str:
    """Return the comparison for a terminal, in columns."""
    rows = [["", "A", "B", "change", "band", ""], *(_row(change, "en") for change in changes(first, second))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    odd = other_terms(first, second)
    warning = [f"not only the code differs: {', '.join(odd)}"] if odd else []
    return "\n".join([*(_columns(row, widths) for row in rows), *warning])


def _columns(row: list[str], widths: list[int]) -> str:
    name, *numbers = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([name.strip().ljust(widths[0]), *numbers]).rstrip()


def write(first: Run, second: Run, directory: Path) -> list[Path]:
    """Write the comparison as HTML and Markdown; return the files, the HTML first."""
    documents = [compose(first, second, language) for language in LANGUAGES]
    return reports.write_documents(documents, directory, "compare")
