"""The rates as bars: one SVG file that stands alone, in light and dark."""

from collections.abc import Sequence
from html import escape

from loadtests.lab.results import Report, Summary
from loadtests.lab.texts import text

WIDTH, NAME_WIDTH, NUMBER_WIDTH = 760, 270, 70
ROW, GROUP_GAP, HEAD = 24, 34, 46
SHOWN = ("uniform", "hot")  # with a given rate all that keep up settle the same
STYLE = """
    :root { --paper: #ffffff; --ink: #1c2430; --soft: #5b6675; --bar: #8a94a3; --report: #c0362c; --ours: #2563c9; }
    @media (prefers-color-scheme: dark) { :root { --paper: #10151c; --ink: #e8edf4; --soft: #a3afbf; --bar: #5b6675;
      --report: #ff8a80; --ours: #6ea8fe; } }
    text { font: 13px system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK KR", sans-serif;
      fill: var(--ink); }
    .head { font-weight: 600; font-size: 15px; } .group { font-weight: 600; fill: var(--soft); }
    .end { text-anchor: end; }
    .bar { fill: var(--bar); } .multilock { fill: var(--report); } .batch { fill: var(--ours); }
"""


def svg(report: Report, language: str) -> str:
    """Return the picture; the bars of all workloads have one scale."""
    groups = [(name, report.under(name)) for name in SHOWN if name in report.workloads]
    most = max((row.rate for _name, rows in groups for row in rows), default=1.0) or 1.0
    title = text("labels", "rate_chart", language)
    y, parts = HEAD, []
    for name, rows in groups:
        parts.append(f'<text class="group" x="16" y="{y + 14}">{escape(text("short", name, language))}</text>')
        parts += _bars(rows, most, y + ROW, language)
        y += ROW * (len(rows) + 1) + GROUP_GAP - ROW // 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-labelledby="title">'
        f'<title id="title">{escape(title)}</title><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{y}" rx="12" fill="var(--paper)"/>'
        f'<text class="head" x="16" y="28">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def _bars(rows: Sequence[Summary], most: float, top: int, language: str) -> list[str]:
    parts = []
    room = WIDTH - NAME_WIDTH - NUMBER_WIDTH - 16
    for place, row in enumerate(rows):
        y = top + ROW * place
        long = max(1.0, room * row.rate / most)
        name = escape(text("strategies", row.strategy, language))
        parts.append(f'<text class="end" x="{NAME_WIDTH - 10}" y="{y + 14}">{name}</text>')
        parts.append(f'<rect class="bar {row.strategy}" x="{NAME_WIDTH}" y="{y + 2}" width="{long:.1f}" height="16"/>')
        parts.append(f'<text x="{NAME_WIDTH + long + 8:.1f}" y="{y + 15}">{row.rate:,.0f}</text>')
    return parts
