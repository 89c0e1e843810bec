"""The lab's report: one HTML page and Markdown in both languages, a picture, and the figures as JSON."""

from pathlib import Path

from loadtests import reports
from loadtests.charts import Chart, Line
from loadtests.document import Block, Bullets, Document, Figures, Heading, Table, Text, plain
from loadtests.lab import picture, results, strategies, table
from loadtests.lab.findings import findings
from loadtests.lab.results import PERCENTILES, Report, Summary
from loadtests.lab.texts import LANGUAGES, text, words


def compose(report: Report, language: str) -> Document:
    """Return the report in one language; the tables come first."""
    return Document(
        language=language,
        title=text("labels", "title", language),
        facts=_facts(report, language),
        verdict="FAIL" if report.violations else "PASS",
        reasons=report.violations or findings(report, language)[:1],
        blocks=[
            *(block for workload in report.workloads for block in _workload(report, workload, language)),
            Heading(text("labels", "findings", language)),
            Bullets(findings(report, language)),
            *_charts(report, language),
            *_strategies(report, language),
            *_reading(report, language),
            *_conditions(report, language),
        ],
    )


def _facts(report: Report, language: str) -> list[str]:
    orders = sum(run.sent for run in report.runs)
    return [
        report.started_at,
        text("labels", "spoken", language, runs=len(report.runs), orders=orders),
        text("labels", "clients", language, clients=report.conditions["clients"]),
        text("labels", "cores", language, cores=report.conditions["cores"]),
    ]


def _workload(report: Report, workload: str, language: str) -> list[Block]:
    rows = report.under(workload)
    tones = ["bad" if row.violations else "" for row in rows]
    return [
        Heading(table.title(workload, language)),
        Table(table.head(language), table.rows(rows, language), words=table.WORDS, tones=tones),
    ]


def _charts(report: Report, language: str) -> list[Block]:
    """Draw the typical round of each strategy; variants stand in the tables only, they would flatten the rest."""
    charts = []
    for workload in report.workloads:
        rows = [row for row in report.under(workload) if row.strategy in strategies.FIVE]
        if rows:
            short = text("short", workload, language)
            curves = [_line(row, [(x, float(y)) for x, y in row.typical.curve], language) for row in rows]
            charts.append(Chart(title=text("labels", "curve", language, workload=short), lines=curves))
            curves = [_line(row, _percentiles(row), language) for row in rows]
            title = text("labels", "latency", language, workload=short)
            charts.append(Chart(title=title, lines=curves, is_time=False))
    return [Figures(charts)] if charts else []


def _line(row: Summary, points: list[tuple[float, float]], language: str) -> Line:
    return Line(label=text("strategies", row.strategy, language), points=points)


def _percentiles(row: Summary) -> list[tuple[float, float]]:
    return [(share * 100, ms) for share, ms in zip(PERCENTILES, row.typical.latencies_ms, strict=True)]


def _strategies(report: Report, language: str) -> list[Block]:
    names = dict.fromkeys(run.strategy for run in report.runs)
    told = [f"{text('strategies', name, language)}: {text('about', name, language)}" for name in names]
    return [Heading(text("labels", "strategies", language)), Bullets(told)]


def _reading(report: Report, language: str) -> list[Block]:
    given = {"orders": report.conditions["orders"], "seconds": report.conditions["seconds"]}
    told: list[Block] = [Text(str(item).format(**given)) for item in words(language)["reading"]]
    return [Heading(text("labels", "reading", language)), *told]


def _conditions(report: Report, language: str) -> list[Block]:
    conditions = report.conditions | {"foreign_cores": report.foreign_cores}
    rows = [[name, plain(value)] for name, value in conditions.items()]
    return [Heading(text("labels", "conditions", language)), Table(["", ""], rows, words=(0, 1))]


def write(report: Report, directory: Path) -> list[Path]:
    """Write every form of the report; return the files, the page first."""
    documents = [compose(report, language) for language in LANGUAGES]
    files = reports.write_documents(documents, directory, "report")
    for language in LANGUAGES:
        file = directory / f"rates.{language}.svg"
        file.write_text(picture.svg(report, language), encoding="utf-8")
        files.append(file)
    return [*files, results.write(report, directory)]
