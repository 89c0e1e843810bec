"""Line charts as inline SVG: no library, no script, readable in light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 24
MOST_POINTS = 240
TICKS = 4
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series; `style` is a colour class, or `asked` for a thin dashed one."""

    label: str
    points: Points
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart; `limit` draws a threshold; `at_least` is the smallest top of the scale; x is seconds unless `x_unit`."""

    title: str
    lines: list[Line]
    limit: float | None = None
    at_least: float = 0.0
    is_time: bool = True
    marks: list[tuple[float, str]] = field(default_factory=list)


def thinned(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points, of each group the highest: a peak must not vanish with the paper's width."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    return [max(points[start : start + size], key=lambda point: point[1]) for start in range(0, len(points), size)]


def nice_top(value: float) -> float:
    """Return the smallest round number (1, 2, 2.5, 5 x 10^n) that is not below the value."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 2.5, 4, 5, 8, 10) if power * step >= value - 1e-12)


def svg(chart: Chart) -> str:
    """Return the chart as an SVG element."""
    lines = [line for line in chart.lines if line.points]
    tallest = max((y for line in lines for _x, y in line.points), default=0.0)
    top = nice_top(max(tallest * 1.02, chart.at_least, chart.limit if chart.limit and tallest > chart.limit / 2 else 0))
    longest = max((x for line in lines for x, _y in line.points), default=1.0) or 1.0
    plane = _Plane(top=top, longest=longest)
    parts = [_grid(plane, chart.is_time)]
    if chart.limit is not None and chart.limit <= top:
        parts.append(_level(plane, chart.limit))
    parts += [_mark(plane, at, text) for at, text in chart.marks if 0 <= at <= longest]
    for position, line in enumerate(lines):
        parts.append(_curve(plane, line, COLOURS[position % len(COLOURS)]))
    body = "".join(parts)
    title = escape(chart.title)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>{body}</svg>'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    top: float
    longest: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.longest

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, self.top) / self.top


def _grid(plane: _Plane, is_time: bool) -> str:
    parts = []
    for tick in range(TICKS + 1):
        value = plane.top * tick / TICKS
        y = plane.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(value)}</text>')
    for tick in range(TICKS + 2):
        value = plane.longest * tick / (TICKS + 1)
        anchor = "end" if tick == TICKS + 1 else "middle"
        text = clock(value) if is_time else f"{value:,.0f}"
        parts.append(f'<text x="{plane.x(value):.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts)


def _level(plane: _Plane, value: float) -> str:
    y = plane.y(value)
    return f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _mark(plane: _Plane, at: float, text: str) -> str:
    x = plane.x(at)
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    anchor, gap = ("start", 4) if x < WIDTH * 0.7 else ("end", -4)
    return f'{line}<text class="marked" x="{x + gap:.1f}" y="{TOP + 9}" text-anchor="{anchor}">{escape(text)}</text>'


def _curve(plane: _Plane, line: Line, colour: str) -> str:
    points = thinned(line.points)
    path = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in points)
    style = line.style or colour
    if len(points) == 1:
        x, y = points[0]
        return f'<circle class="{style}" cx="{plane.x(x):.1f}" cy="{plane.y(y):.1f}" r="2.5"/>'
    return f'<polyline class="{style}" points="{path}"/>'


def styles(chart: Chart) -> list[tuple[str, str]]:
    """Return (colour class, label) of each line that is drawn, for the legend."""
    lines = [line for line in chart.lines if line.points]
    return [(line.style or COLOURS[position % len(COLOURS)], line.label) for position, line in enumerate(lines)]


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def short(value: float) -> str:
    """Return a number of at most five characters for an axis."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
