"""The report of one run: composed once per language, written as one HTML file, two Markdown files and JSON."""

from pathlib import Path

from loadtests import report_html, report_markdown, results, sections, sections_detail, sections_phases
from loadtests.document import Document
from loadtests.results import Run
from loadtests.texts import LANGUAGES, phrase, say


def compose(run: Run, language: str) -> Document:
    """Return the report in one language; what matters most comes first."""
    return Document(
        language=language,
        title=phrase("title", language, {"scenario": run.scenario}),
        facts=_facts(run, language),
        verdict=run.verdict.word if run.verdict else "",
        reasons=[say(reason, language) for reason in run.verdict.reasons] if run.verdict else [],
        blocks=[
            *sections.objectives(run, language),
            *sections_detail.probes(run, language),
            *sections_phases.phases(run, language),
            *sections.endpoints(run, language),
            *sections.settlement(run, language),
            *sections.beside(run, language),
            *sections_detail.diagnosis(run, language),
            *sections_detail.bottlenecks(run, language),
            *sections_detail.steps(run, language),
            *sections_detail.over_time(run, language),
            *sections_detail.memory(run, language),
            *sections_detail.reconciliation(run, language),
            *sections_detail.audit(run, language),
            *sections.original_findings(run, language),
            *sections_detail.conditions(run, language),
            *sections_detail.reading(run, language),
        ],
    )


def _facts(run: Run, language: str) -> list[str]:
    return [
        run.started_at,
        phrase("facts_requests", language, {"count": run.requests}),
        f"{run.seconds:,.0f} s",
        f"{run.tps:,.0f}/s",
        *([f"{run.machine['cores']} CPU"] if "cores" in run.machine else []),
        *([f"k6 {run.machine['k6']}"] if "k6" in run.machine else []),
    ]


def write(run: Run, directory: Path) -> list[Path]:
    """Write every form of the report; return the files, the HTML first."""
    directory.mkdir(parents=True, exist_ok=True)
    documents = [compose(run, language) for language in LANGUAGES]
    return [*write_documents(documents, directory, "report"), results.write(run, directory)]


def write_documents(documents: list[Document], directory: Path, name: str) -> list[Path]:
    """Write one HTML file with all languages in it and a Markdown file for each."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / f"{name}.html"
    page.write_text(report_html.page(documents), encoding="utf-8")
    files = [page]
    for document in documents:
        file = directory / f"{name}.{document.language}.md"
        file.write_text(report_markdown.text(document), encoding="utf-8")
        files.append(file)
    return files
