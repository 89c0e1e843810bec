"""
What a benchmark found out: figures held against their limits, part by part, kept as JSON.

A figure outside its limit is shown, it does not fail the benchmark: on another machine it may be right to miss it.
Wrong data do, and so does a part that could not be measured.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 2
FILE_NAME = "bench.json"
AT_MOST, AT_LEAST, EXACTLY = "≤", "≥", "="


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure; `limit` with `bound` is what it is held against (no bound: only shown), `command` measures it."""

    name: str
    measured: float | None
    unit: str = ""
    bound: str = ""
    limit: float | None = None
    command: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is nothing to hold it against, or nothing was measured."""
        if not self.bound or self.limit is None or self.measured is None:
            return None
        within = {AT_MOST: self.measured <= self.limit, AT_LEAST: self.measured >= self.limit}
        return within.get(self.bound, self.measured == self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    One part of the benchmark.

    `wrong` says what makes the shop wrong rather than slow (an audit's violations, lost orders); `failed` why the part
    could not be measured; `charts` holds bars for docs: chart -> bar -> value; `how` when it was measured, and whether
    quickly, because a report may hold parts of several benchmarks.
    """

    name: str
    seconds: float
    figures: list[Figure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failed: str = ""
    how: str = ""
    charts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All parts of one benchmark, or of several on one page; `machine` is what the last one was made on."""

    machine: Mapping[str, Any]
    parts: list[Part]

    @property
    def exit_code(self) -> int:
        """3: something is wrong; 1: a part could not be measured; else 0, whatever was missed."""
        if any(part.wrong for part in self.parts):
            return 3
        return 1 if any(part.failed for part in self.parts) else 0

    def over(self, earlier: "Bench | None", *, order: Iterable[str]) -> "Bench":
        """Return these parts, and those of an earlier benchmark that were not measured again, in this order."""
        found = {part.name: part for part in [*(earlier.parts if earlier else ()), *self.parts]}
        return dataclasses.replace(self, parts=[found[name] for name in order if name in found])


def write(bench: Bench, directory: Path) -> Path:
    """Write the benchmark as JSON; return the file."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / FILE_NAME
    document = {"format": FORMAT} | dataclasses.asdict(bench)
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return file


def read(directory: Path) -> Bench | None:
    """Return the benchmark kept in a directory, None if there is none that can be read."""
    try:
        document = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            return None
        parts = [Part(**part | {"figures": [Figure(**item) for item in part["figures"]]}) for part in document["parts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Bench(**document | {"parts": parts})
