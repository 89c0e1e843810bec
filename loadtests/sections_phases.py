"""The report of an overload: its phases side by side, who was refused in each, and both over time."""

from loadtests.charts import Chart, Line
from loadtests.document import Block, Figures, Heading, Table, precise, tidy, whole
from loadtests.phases import CLASSES, goodput_shares, shed_share
from loadtests.results import Phase, Run, series
from loadtests.texts import label, labels, text

RATES = ("phase", "factor", "asked_per_s", "good_per_s", "work", "work_share", "late_per_s", "shed_per_s", "failures")
TIMES = ("phase", "accepted_p50", "accepted_p99", "refused_p50", "refused_p99", "settled_per_s", "settled_p95")


def phases(run: Run, language: str) -> list[Block]:
    """What each phase of an overload asked and got; nothing for other runs."""
    if not run.phases:
        return []
    shed = ["phase", *(f"class_{worth}" for worth in CLASSES)]
    return [
        Heading(label("phases", language)),
        Table(labels([*RATES], language), [_rates(*row, language) for row in goodput_shares(run.phases)]),
        Table(labels([*TIMES], language), [_times(phase, language) for phase in run.phases]),
        Heading(label("who_was_refused", language)),
        Table(labels(shed, language), [_refused(phase, language) for phase in run.phases]),
        *_over_time(run, language),
    ]


def _name(phase: Phase, language: str) -> str:
    kind, _, number = phase.name.partition("_")
    return f"{label(f'phase_{kind}', language)} {number}".rstrip()


def _rates(phase: Phase, of_best: float, language: str) -> list[str]:
    per_second = [precise(phase.per_second(*kinds)) for kinds in ((), ("good",))]
    lost = [precise(phase.per_second(kind)) for kind in ("late", "shed")]
    work = [f"{phase.work:.2f}", f"{of_best:.2%}"]
    return [_name(phase, language), tidy(phase.factor), *per_second, *work, *lost, whole(phase.count("error"))]


def _times(phase: Phase, language: str) -> list[str]:
    latencies = [phase.accepted.p50, phase.accepted.p99, phase.refused.p50, phase.refused.p99]
    settled = None if phase.settled is None else phase.settled / phase.seconds
    values = [*latencies, settled, phase.settled_p95_ms]
    return [_name(phase, language), *(precise(value) for value in values)]


def _refused(phase: Phase, language: str) -> list[str]:
    shares = [shed_share(phase, worth) for worth in CLASSES]
    return [_name(phase, language), *("–" if value is None else f"{value:.1%}" for value in shares)]


def asked_at(run: Run, second: float) -> float:
    """Return the planned rate of an overload at a moment."""
    phase = next((phase for phase in reversed(run.phases) if phase.begin <= second), run.phases[0])
    return float(run.plan["rate"]) * phase.factor


def _over_time(run: Run, language: str) -> list[Block]:
    seconds = [sample.at for sample in run.samples if sample.at <= run.plan["duration_s"]]
    lines = [
        Line(label=label("asked", language), points=[(at, asked_at(run, at)) for at in seconds], style="asked"),
        Line(label=label("let_in", language), points=series(run.samples, "let_in"), style="c1"),
        Line(label=label("shed", language), points=series(run.samples, "shed"), style="c4"),
    ]
    marks = [(phase.begin, _name(phase, language)) for phase in run.phases[1:]]
    chart = Chart(title=label("chart_phases", language), lines=lines, marks=marks)
    return [Figures([chart])] if len(seconds) > 1 else []


def reading(run: Run, language: str) -> list[str]:
    """What the figures of an overload mean; nothing for other runs."""
    return [text("phases", key, language) for key in ("goodput", "last", "order")] if run.phases else []
