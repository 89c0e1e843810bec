"""A benchmark on paper: one table for the terminal, one in Markdown."""

from loadtests.bench.figures import Bench, Figure, Part

STATES = {True: "met", False: "MISSED", None: ""}


def number(value: float | None) -> str:
    """Return a number with as many digits as it is worth."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def row(figure: Figure) -> tuple[str, str, str, str, str]:
    limit = f"{figure.bound} {number(figure.limit)}" if figure.bound else ""
    measured = f"{number(figure.measured)} {figure.unit}".strip()
    return figure.name, measured, limit, STATES[figure.met], figure.command


def terminal(bench: Bench) -> str:
    """Return every part as aligned lines; each command line stands once, above its figures."""
    lines = []
    for part in bench.parts:
        lines += [f"{part.name}  ({part.seconds:,.0f} s)", *_figures(part), *_faults(part), ""]
    return "\n".join([*lines, summary(bench)])


def _figures(part: Part) -> list[str]:
    rows = [row(figure) for figure in part.figures]
    widths = [max((len(cells[column]) for cells in rows), default=0) for column in range(3)]
    lines, command = [], ""
    for name, measured, limit, state, asked in rows:
        if asked != command:
            command = asked
            lines.append(f"  $ {command}")
        lines.append(f"    {name:<{widths[0]}}  {measured:>{widths[1]}}  {limit:<{widths[2]}}  {state}".rstrip())
    return lines


def _faults(part: Part) -> list[str]:
    return [f"  WRONG: {said}" for said in part.wrong] + ([f"  NOT MEASURED: {part.failed}"] if part.failed else [])


def summary(bench: Bench) -> str:
    """Return the last line: what was met, what was missed, what is wrong."""
    states = [figure.met for part in bench.parts for figure in part.figures]
    wrong = sum(len(part.wrong) for part in bench.parts)
    failed = sum(bool(part.failed) for part in bench.parts)
    return f"{states.count(True)} met, {states.count(False)} missed, {wrong} wrong, {failed} parts not measured"


def markdown(bench: Bench, charts: dict[str, str]) -> str:
    """Return the benchmark as a page; `charts` maps titles to files beside it."""
    machine = ", ".join(f"{name} {value}" for name, value in bench.machine.items())
    lines = ["# Benchmark", machine, f"**{summary(bench)}**"]
    for part in bench.parts:
        lines.append(f"## {part.name} ({part.seconds:,.0f} s)")
        lines.append(part.how)
        lines.append(_table(part))
        lines += [f"- {said.strip()}" for said in _faults(part)]
    lines += [f"![{title}]({file})" for title, file in charts.items()]
    return "\n\n".join(line for line in lines if line) + "\n"


def _table(part: Part) -> str:
    if not part.figures:
        return ""
    head = ["| figure | measured | limit | | command |", "|---|---:|---|---|---|"]
    rows = [row(figure) for figure in part.figures]
    return "\n".join(
        [*head, *(f"| {name} | {value} | {limit} | {state} | `{asked}` |" for name, value, limit, state, asked in rows)]
    )
