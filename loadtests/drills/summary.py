"""The one table of all drills: on the terminal, and as a page made of every sheet in a directory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests import reports
from loadtests.document import Document, Heading, Link, Table, Text
from loadtests.drills.registry import drills
from loadtests.drills.texts import LANGUAGES, label, say

COLUMNS = ("noticed", "degraded", "recovered", "settled")


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def why(summary: dict[str, Any], language: str) -> str:
    """Return what broke, or why the drill was skipped; nothing for one that passed."""
    if summary["skipped"]:
        return say("skips", summary["skipped"], language)
    return ", ".join(summary["failed"])


def lines(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table as text, one line a drill, and what it comes to."""
    head = ["drill", "fault", "result", "noticed", "felt", "well again", "settled", "unknown", "503", ""]
    rows = [
        [
            one["name"],
            one["faults"],
            one["word"],
            *(seconds(one[name]) for name in COLUMNS),
            str(one["unknown"]),
            str(one["busy"]),
            why(one, "en"),
        ]
        for one in summaries
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    left = (0, 1, 2)
    table = [
        "  ".join(
            [
                *(cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in enumerate(pairs)),
                row[-1],
            ]
        ).rstrip()
        for row in [head, *rows]
        for pairs in [list(zip(row, widths, strict=False))]
    ]
    return [*table, in_words(summaries, "en")]


def in_words(summaries: Sequence[dict[str, Any]], language: str) -> str:
    """Return `36 drills: 35 PASS, 1 SKIP; 13.2 minutes under load`."""
    counts = {word: sum(1 for one in summaries if one["word"] == word) for word in ("PASS", "FAIL", "SKIP")}
    minutes = sum(one["seconds"] for one in summaries) / 60
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return label("counted", language).format(count=len(summaries), said=said, minutes=f"{minutes:.1f}")


def read(directory: Path) -> list[dict[str, Any]]:
    """Return the summaries of all sheets in a directory, in the order of the catalogue."""
    order = list(drills())
    found = [json.loads(file.read_text(encoding="utf-8")) for file in directory.glob("*/drill.json")]
    return sorted((one for one in found if one["name"] in order), key=lambda one: order.index(one["name"]))


def write(directory: Path) -> list[Path]:
    """Write the page of every drill that has a sheet in the directory; return the files, the HTML first."""
    summaries = read(directory)
    documents = [compose(summaries, language) for language in LANGUAGES]
    return reports.write_documents(documents, directory, "drills")


def compose(summaries: Sequence[dict[str, Any]], language: str) -> Document:
    """Return the page in one language."""
    head = ["drill", "faults", "result", "noticed", "felt", "recovered", "settled", "unknown", "busy", "why"]
    rows = [
        [
            say("titles", one["name"], language),
            one["faults"],
            one["word"],
            *(seconds(one[name]) for name in COLUMNS),
            f"{one['unknown']:,}",
            f"{one['busy']:,}",
            why(one, language),
        ]
        for one in summaries
    ]
    tones = [{"PASS": "", "FAIL": "bad", "SKIP": "odd"}[one["word"]] for one in summaries]
    links = [Link(say("titles", one["name"], language), f"{one['name']}/sheet.html") for one in summaries]
    has_failed = any(one["word"] == "FAIL" for one in summaries)
    return Document(
        language=language,
        title=label("summary", language),
        facts=sorted({one["began_at"][:10] for one in summaries}),
        verdict="FAIL" if has_failed else "PASS",
        reasons=[in_words(summaries, language)],
        blocks=[
            Table([label(name, language) for name in head], rows, words=(0, 1, 2, 9), tones=tones),
            Text(label("summary_note", language)),
            Heading(label("sheet", language)),
            *links,
        ],
    )
