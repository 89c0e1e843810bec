"""Bar charts of a benchmark as SVG files that stand alone: readable in light and dark, nothing loaded."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from loadtests.bench.figures import Bench, Part

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 640, 190, 70, 16, 8, 30
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.a{fill:#3b6fb6}.b{fill:#c77a2b}"
    ".l{stroke:#b3261e;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.a{fill:#79a8e0}.b{fill:#e0a15c}.l{stroke:#ff8a80}}"
)

Bars = Mapping[str, Mapping[str, float]]
"""Series -> bar -> value; bars of the same name stand together."""


def svg(title: str, series: Bars, *, unit: str = "", limits: Mapping[str, float] | None = None) -> str:
    """Return a chart; `limits` draws a line at the bar of that name."""
    names = list(dict.fromkeys(name for bars in series.values() for name in bars))
    limits = limits or {}
    most = max([*(value for bars in series.values() for value in bars.values()), *limits.values()], default=0.0) or 1.0
    parts, y = [f'<text class="t" x="8" y="18">{escape(title)}</text>'], float(TOP)
    for name in names:
        begin = y
        parts.append(f'<text x="{LEFT - 8}" y="{y + 12.5:.1f}" text-anchor="end">{escape(name)}</text>')
        for place, bars in enumerate(series.values()):
            if name in bars:
                parts.append(_bar(bars[name], most, y, "ab"[place % 2], unit))
                y += BAR + 2
        if name in limits:
            x = _x(limits[name], most)
            parts.append(f'<line class="l" x1="{x:.1f}" x2="{x:.1f}" y1="{begin - 2:.1f}" y2="{y:.1f}"/>')
        y += GAP
    parts.append(_legend(list(series), y) if len(series) > 1 else "")
    height = y + (24 if len(series) > 1 else 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _x(value: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / most


def _bar(value: float, most: float, y: float, style: str, unit: str) -> str:
    x = _x(value, most)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    rect = f'<rect class="{style}" x="{LEFT}" y="{y:.1f}" width="{max(1.0, x - LEFT):.1f}" height="{BAR}"/>'
    return f'{rect}<text x="{x + 5:.1f}" y="{y + 12.5:.1f}">{shown}{escape(unit)}</text>'


def _legend(names: list[str], y: float) -> str:
    parts = []
    for place, name in enumerate(names):
        x = LEFT + place * 160
        parts.append(f'<rect class="{"ab"[place % 2]}" x="{x}" y="{y:.1f}" width="12" height="12"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 10.5:.1f}">{escape(name)}</text>')
    return "".join(parts)


# --- the benchmark's own --------------------------------------------------------------------------------------------


def drawn(bench: Bench) -> dict[str, tuple[str, str]]:
    """Return the charts that the measured parts give: file -> (title, SVG)."""
    parts = {part.name: part for part in bench.parts if part.charts}
    makers = {"capacity": _capacity, "requests": _requests, "settle": _settle, "growth": _growth}
    made = {}
    for name, make in makers.items():
        if name in parts:
            title, picture = make(parts[name])
            made[f"{name}.svg"] = (title, picture)
    return made


def write(bench: Bench, directory: Path) -> dict[str, str]:
    """Write the charts; return their files by title."""
    made = drawn(bench)
    for file, (_title, picture) in made.items():
        (directory / file).write_text(picture, encoding="utf-8")
    return {title: file for file, (title, _picture) in made.items()}


def _capacity(part: Part) -> tuple[str, str]:
    title = "Highest rate that meets every objective, requests a second"
    return title, svg(title, {name.removeprefix("capacity "): bars for name, bars in part.charts.items()})


def _requests(part: Part) -> tuple[str, str]:
    title = "CPU of the web per request (an empty Django view = 1; dashed: the budget)"
    budgets = {figure.name.partition(":")[0]: figure.limit for figure in part.figures if figure.limit is not None}
    names = {"served": "on the server", "in_process": "in process"}
    return title, svg(title, {names[name]: part.charts[name] for name in names}, unit="×", limits=budgets)


def _settle(part: Part) -> tuple[str, str]:
    title = "Orders one worker settles a second"
    return title, svg(title, part.charts)


def _growth(part: Part) -> tuple[str, str]:
    title = "p95 and time to settle an order, ms: the small shop and the large one"
    return title, svg(title, {name.removeprefix("growth "): bars for name, bars in part.charts.items()})
