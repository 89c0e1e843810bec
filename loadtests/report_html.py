"""A report as one self-contained HTML file: style, charts and every language inside, nothing loaded from anywhere."""

from html import escape
from pathlib import Path

from loadtests import charts
from loadtests.document import Block, Bullets, Code, Document, Figures, Heading, Link, Table, Text

STYLE = Path(__file__).with_name("report.css")
SPOKEN = {"en": "English", "ko": "한국어"}


def page(documents: list[Document]) -> str:
    """Return the page; the reader picks the language without a script."""
    inputs = "".join(
        f'<input type="radio" name="language" id="{item.language}"{" checked" if item is documents[0] else ""}>'
        for item in documents
    )
    switch = "".join(f'<label for="{item.language}">{SPOKEN[item.language]}</label>' for item in documents)
    bodies = "".join(_body(item) for item in documents)
    return (
        f'<!doctype html><html lang="{documents[0].language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(documents[0].title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body>{inputs}<nav>{switch}</nav>{bodies}</body></html>\n"
    )


def _body(document: Document) -> str:
    facts = "".join(f"<span>{escape(fact)}</span>" for fact in document.facts)
    return (
        f'<main lang="{document.language}"><h1>{escape(document.title)}</h1><p class="facts">{facts}</p>'
        f"{_banner(document)}{''.join(_block(block) for block in document.blocks)}</main>"
    )


def _banner(document: Document) -> str:
    if not document.verdict:
        return ""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in document.reasons)
    word = document.verdict
    return f'<section class="verdict {word.lower()}"><strong>{word}</strong><ul>{reasons}</ul></section>'


def _block(block: Block) -> str:
    match block:
        case Heading(text=said):
            return f"<h2>{escape(said)}</h2>"
        case Text(text=said):
            return f"<p>{escape(said)}</p>"
        case Bullets(items=items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Code(text=said):
            return f"<pre>{escape(said)}</pre>"
        case Table():
            return _table(block)
        case Link(text=said, target=target):
            return f'<p><a href="{escape(target)}">{escape(said)}</a></p>'
        case Figures(charts=drawn):
            return f'<div class="charts">{"".join(_figure(chart) for chart in drawn)}</div>'


def _table(table: Table) -> str:
    head = "".join(_cell("th", text, position, table) for position, text in enumerate(table.head))
    tones = [*table.tones, *[""] * (len(table.rows) - len(table.tones))]
    rows = "".join(
        f'<tr class="{tone}">{"".join(_cell("td", text, position, table) for position, text in enumerate(row))}</tr>'
        for row, tone in zip(table.rows, tones, strict=True)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(tag: str, text: str, position: int, table: Table) -> str:
    kind = "" if position in table.words else ' class="n"'
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


def _figure(chart: charts.Chart) -> str:
    legend = "".join(f'<span class="{line.style}">{escape(line.label)}</span>' for line in charts.drawn(chart))
    return f"<figure><figcaption>{escape(chart.title)}<i>{legend}</i></figcaption>{charts.svg(chart)}</figure>"
