"""A report as a list of blocks, in one language; HTML and Markdown are written from the same blocks."""

from dataclasses import dataclass, field
from typing import Any

from loadtests.charts import Chart


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: list[str]


@dataclass(frozen=True, slots=True)
class Code:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """`words` are the positions of columns that hold words and stand on the left; `tones` mark rows good, bad, odd."""

    head: list[str]
    rows: list[list[str]]
    words: tuple[int, ...] = (0,)
    tones: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another file; `target` counts from the report's directory."""

    text: str
    target: str


@dataclass(frozen=True, slots=True)
class Figures:
    charts: list[Chart]


Block = Heading | Text | Bullets | Code | Table | Link | Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """`verdict` is the word in the banner (empty: none) above the `reasons`; `facts` stand under the title."""

    language: str
    title: str
    facts: list[str]
    verdict: str
    reasons: list[str]
    blocks: list[Block]


def whole(value: float | None) -> str:
    """Return `12,345`, or a dash where nothing was measured."""
    return "–" if value is None else f"{value:,.0f}"


def precise(value: float | None) -> str:
    """Return a number with a digit below 100, none above."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def tidy(value: float | None) -> str:
    """Return a number as `precise` does, but a whole one without digits."""
    return whole(value) if value is not None and value == int(value) else precise(value)


def share(part: float, of: float) -> str:
    """Return a share in per cent with two digits, as the original report has them; `–` of nothing."""
    return f"{part / of:.2%}" if of else "–"


def plain(value: Any) -> str:
    """Return a value of the plan or the machine as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(item)}" for name, item in sorted(value.items()))
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)
