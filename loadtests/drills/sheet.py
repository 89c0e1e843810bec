"""The incident sheet of one drill: composed once per language, written as HTML and Markdown."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from loadtests import reports
from loadtests.charts import Chart, Line
from loadtests.document import Block, Bullets, Code, Document, Figures, Heading, Link, Table, Text, precise
from loadtests.drills.history import KINDS, Attempt, Entry, Outcome
from loadtests.drills.house import ROOT
from loadtests.drills.incident import Check, Incident
from loadtests.drills.texts import LANGUAGES, found, label, say
from loadtests.drills.times import Times

STEP_SECONDS = 0.5
LINES_SHOWN = 30
IMPACT = (
    *("kind", "wanted", "done", "refused", "unknown", "repeated", "replayed"),
    *("p95_before", "p95_during", "p95_after"),
)
RUNBOOKS = ROOT / "docs" / "runbooks"


def write(incident: Incident, directory: Path) -> list[Path]:
    """Write the sheet in every form; return the files, the HTML first."""
    documents = [compose(incident, language, directory) for language in LANGUAGES]
    return reports.write_documents(documents, directory, "sheet")


def compose(incident: Incident, language: str, directory: Path) -> Document:
    """Return the sheet in one language; links count from `directory`."""
    drill, times = incident.drill, incident.times
    blocks: list[Block] = [
        Text(say("stories", drill.name, language)),
        Link(label("runbook", language), os.path.relpath(runbook(drill.name, language), directory)),
    ]
    if times is None:
        blocks += _wrong(incident, language)
    else:
        blocks += [
            *_times(times, language),
            *_checks(incident.checks, language),
            *_wrong(incident, language),
            *_timeline(incident, times, language),
            *_customers(incident, times, language),
            *_charts(incident, times, language),
        ]
    blocks += [Heading(label("repeat", language)), Code(f"python manage.py drill {drill.name} --seed {incident.seed}")]
    return Document(
        language=language,
        title=say("titles", drill.name, language),
        facts=[incident.began_at, drill.faults, f"seed {incident.seed}", f"{incident.seconds:,.0f} s"],
        verdict=incident.word,
        reasons=reasons(incident, language),
        blocks=blocks,
    )


def runbook(name: str, language: str) -> Path:
    """Return a drill's page in docs/runbooks."""
    return RUNBOOKS / (f"{name}.md" if language == "en" else f"{name}.{language}.md")


def reasons(incident: Incident, language: str) -> list[str]:
    """Return what failed, or what was held."""
    if incident.skipped:
        return [say("skips", incident.skipped, language)]
    failed = incident.fault_error.splitlines()[:1]
    failed += [said(check, language) for check in incident.checks if not check.is_ok]
    return failed or [label("all_held", language)]


def said(check: Check, language: str) -> str:
    named = {name: label(str(check.values[name]), language) for name in ("kind", "window") if name in check.values}
    return say("checks", check.key, language, {**check.values, **named})


# --- the judgement --------------------------------------------------------------------------------------------------


def _times(times: Times, language: str) -> list[Block]:
    rows = [[label(f"noticed_{window}", language), _s(at - times.injected)] for window, at in times.noticed.items()]
    rows = rows or [[label("noticed_nobody", language), "–"]]
    rows += [
        [label("to_degrade", language), _s(times.to_degrade)],
        [label("to_recover", language), _s(times.to_recover)],
        [label("to_drain", language), _s(times.to_drain)],
    ]
    return [Heading(label("times", language)), Table([label("what", language), label("seconds", language)], rows)]


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"


def _checks(checks: Iterable[Check], language: str) -> list[Block]:
    rows = [[said(check, language), label("held" if check.is_ok else "broken", language)] for check in checks]
    tones = ["good" if check.is_ok else "bad" for check in checks]
    head = [label("check", language), label("result", language)]
    return [Heading(label("judgement", language)), Table(head, rows, words=(0, 1), tones=tones)]


def _wrong(incident: Incident, language: str) -> list[Block]:
    """Name what was found, entry by entry and row by row."""
    wrong = [found(finding, language) for finding in incident.findings] + list(incident.audit)
    wrong += [incident.fault_error] if incident.fault_error else []
    if not wrong:
        return []
    more = [f"… {len(wrong) - LINES_SHOWN}"] if len(wrong) > LINES_SHOWN else []
    return [Heading(label("wrong", language)), Bullets([*wrong[:LINES_SHOWN], *more])]


def _timeline(incident: Incident, times: Times, language: str) -> list[Block]:
    told = [
        (event.at, say("events", event.key, language, event.values)) for event in (*incident.events, *incident.proofs)
    ]
    told += [(at, label(f"seen_{window}", language)) for window, at in times.noticed.items()]
    if times.degraded is not None:
        told.append((times.degraded, label("seen_customer", language)))
    told += [(times.recovered, label("seen_recovered", language)), (times.load_ended, label("seen_load_end", language))]
    if times.drained is not None:
        told.append((times.drained, label("seen_drained", language)))
    logged = [(at, f"up: {line[:160]}") for at, line in incident.sight.told][:LINES_SHOWN]
    rows = [[f"{at:.1f}", text] for at, text in sorted(told + logged)]
    return [Heading(label("timeline", language)), Table(["s", label("what", language)], rows, words=(1,))]


# --- what customers saw ---------------------------------------------------------------------------------------------


def _customers(incident: Incident, times: Times, language: str) -> list[Block]:
    rows = []
    for kind in KINDS:
        own = [entry for entry in incident.entries if entry.kind == kind]
        if own:
            rows.append([label(kind, language), *_impact(own), *_latencies(own, times)])
    answers = Counter(_answer(attempt) for attempt in incident.attempts)
    listed = [[label(name, language), f"{count:,}"] for name, count in answers.most_common()]
    if incident.sent_again:
        listed.append([label("sent_again", language), f"{incident.sent_again:,}"])
    return [
        Heading(label("customers", language)),
        Table([label(name, language) for name in IMPACT], rows),
        Text(label("customers_note", language)),
        Table([label("answer", language), label("count", language)], listed),
    ]


def _impact(own: list[Entry]) -> list[str]:
    outcomes = Counter(entry.outcome for entry in own)
    repeated = sum(1 for entry in own if len(entry.attempts) > 1)
    replayed = sum(1 for entry in own if any(attempt.replayed for attempt in entry.attempts))
    counts = (len(own), outcomes[Outcome.OK], outcomes[Outcome.FAIL], outcomes[Outcome.INFO], repeated, replayed)
    return [f"{count:,}" for count in counts]


def _latencies(own: list[Entry], times: Times) -> list[str]:
    until = max(times.healed, times.recovered)
    windows = ((0.0, times.injected), (times.injected, until), (until, float("inf")))
    attempts = [attempt for entry in own for attempt in entry.attempts]
    return [precise(p95([it.ms for it in attempts if start <= it.start < end])) for start, end in windows]


def p95(values: list[float]) -> float | None:
    return sorted(values)[int(len(values) * 0.95)] if values else None


def _answer(attempt: Attempt) -> str:
    """Return `200`, `503 busy` or `timeout`."""
    return f"{attempt.status} {attempt.code}".strip() if attempt.status else attempt.code


# --- charts ---------------------------------------------------------------------------------------------------------


def _charts(incident: Incident, times: Times, language: str) -> list[Block]:
    marks = [(times.injected, label("mark_injected", language))]
    if times.healed > times.injected:
        marks.append((times.healed, label("mark_healed", language)))
    attempts = incident.attempts
    outcomes = [
        Line(label=label(f"line_{outcome}", language), points=_per_second(attempts, outcome), style=style)
        for outcome, style in ((Outcome.OK, "c3"), (Outcome.FAIL, "c2"), (Outcome.INFO, "c4"))
    ]
    waiting = incident.sight.waiting
    orders = Line(label=label("line_orders", language), points=[(state.at, float(state.orders)) for state in waiting])
    claims = Line(label=label("line_claims", language), points=[(state.at, float(state.claims)) for state in waiting])
    oldest = Line(label=label("line_oldest", language), points=[(state.at, state.oldest) for state in waiting])
    return [
        Heading(label("charts", language)),
        Figures(
            [
                Chart(title=label("chart_answers", language), lines=outcomes, marks=marks),
                Chart(title=label("chart_p95", language), lines=[_p95_line(attempts, language)], marks=marks),
                Chart(title=label("chart_waiting", language), lines=[orders, claims], marks=marks),
                Chart(title=label("chart_oldest", language), lines=[oldest], marks=marks),
            ]
        ),
    ]


def _steps(attempts: list[Attempt]) -> list[float]:
    last = max((attempt.end for attempt in attempts), default=0.0)
    return [number * STEP_SECONDS for number in range(int(last / STEP_SECONDS) + 1)]


def _per_second(attempts: list[Attempt], outcome: Outcome) -> list[tuple[float, float]]:
    counted = Counter(int(attempt.end / STEP_SECONDS) for attempt in attempts if attempt.outcome is outcome)
    return [(at, counted[int(at / STEP_SECONDS)] / STEP_SECONDS) for at in _steps(attempts)]


def _p95_line(attempts: list[Attempt], language: str) -> Line:
    points = []
    for at in _steps(attempts):
        value = p95([attempt.ms for attempt in attempts if at <= attempt.end < at + STEP_SECONDS])
        if value is not None:
            points.append((at, value))
    return Line(label="p95", points=points)
