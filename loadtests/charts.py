"""Line charts as inline SVG: no library, no script, readable in light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 24
MOST_POINTS = 240
X_STEPS, Y_STEPS = 7, 5
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9")

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


def nice_step(most: float, steps: int, nice: Sequence[float] = (1, 2, 2.5, 5, 10)) -> float:
    """Return the smallest round step (times a power of ten) of which at most `steps` reach to `most`."""
    wanted = most / steps if most > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(power * step for step in nice if power * step >= wanted * (1 - 1e-9))


def time_step(seconds: float, steps: int) -> float:
    """Return the smallest customary step of time of which at most `steps` fit."""
    customary = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600)
    return next((float(step) for step in customary if seconds / step <= steps), 7200.0)


def drawn(chart: Chart) -> list[Line]:
    """Return the lines that have points, each with its style; colours follow the place in the chart's list."""
    named = [replace(line, style=line.style or COLOURS[place % len(COLOURS)]) for place, line in enumerate(chart.lines)]
    return [line for line in named if line.points]


def svg(chart: Chart) -> str:
    """Return the chart as an SVG element."""
    lines = drawn(chart)
    tallest = max((y for line in lines for _x, y in line.points), default=0.0)
    near = chart.limit if chart.limit and tallest > chart.limit / 2 else 0.0
    step = nice_step(max(tallest * 1.02, chart.at_least, near), Y_STEPS)
    steps = max(1, math.ceil(max(tallest * 1.02, chart.at_least, near) / step - 1e-9))
    longest = max((x for line in lines for x, _y in line.points), default=1.0) or 1.0
    plane = _Plane(top=step * steps, longest=longest)
    parts = [*_levels(plane, step, steps), *_times(plane, chart.is_time)]
    if chart.limit is not None and chart.limit <= plane.top:
        parts.append(_level(plane, chart.limit))
    parts += [_mark(plane, at, text) for at, text in chart.marks if 0 <= at <= longest]
    parts += [_curve(plane, line) for line in lines]
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


def _levels(plane: _Plane, step: float, steps: int) -> list[str]:
    parts = []
    for number in range(steps + 1):
        y = plane.y(step * number)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(step * number)}</text>')
    return parts


def _times(plane: _Plane, is_time: bool) -> list[str]:
    step = (time_step if is_time else nice_step)(plane.longest, X_STEPS)
    values = [step * number for number in range(int(plane.longest / step) + 1)]
    texts = [(plane.x(value), clock(value) if is_time else short(value)) for value in values]
    return [f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{text}</text>' for x, text in texts]


def _level(plane: _Plane, value: float) -> str:
    y = plane.y(value)
    return f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _mark(plane: _Plane, at: float, text: str) -> str:
    x = plane.x(at)
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    anchor, gap = ("start", 4) if x < WIDTH * 0.7 else ("end", -4)
    return f'{line}<text class="marked" x="{x + gap:.1f}" y="{TOP + 9}" text-anchor="{anchor}">{escape(text)}</text>'


def _curve(plane: _Plane, line: Line) -> str:
    points = thinned(line.points)
    path = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in points)
    if len(points) == 1:
        x, y = points[0]
        return f'<circle class="{line.style}" cx="{plane.x(x):.1f}" cy="{plane.y(y):.1f}" r="2.5"/>'
    return f'<polyline class="{line.style}" points="{path}"/>'


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def short(value: float) -> str:
    """Return a number of at most five characters for an axis."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
