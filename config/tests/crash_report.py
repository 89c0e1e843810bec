"""Writes docs/crash-points.md and its Korean twin from the list of points, once all passed: `make crash-points`."""

from collections.abc import Iterator

from config.tests.crash_points import FLOWS, POINTS, Flow, Kind, Outcome, Point
from config.tests.crash_words import ENGLISH, FLOW_WORDS, KOREAN, OUTCOME_WORDS, STEP_WORDS, Page
from config.tests.sources import ROOT

PAGES = {ROOT / "docs/crash-points.md": ENGLISH, ROOT / "docs/crash-points.ko.md": KOREAN}


def main() -> None:
    for file, page in PAGES.items():
        file.write_text(text_of(page))


def text_of(page: Page) -> str:
    """Return the whole document in one language."""
    head = page.head.format(points=len(POINTS), crashes=2 * len(POINTS))
    return "\n".join([head, *(line for flow in FLOWS for line in section(flow, page))])


def section(flow: Flow, page: Page) -> Iterator[str]:
    """Yield the lines of one flow."""
    yield f"## `{flow.name}`\n"
    yield f"{FLOW_WORDS[flow.name][page.language]}\n"
    yield page.columns
    yield "|---|---|---|---|---|"
    for point in flow.points():
        yield row(point, page)
    yield ""


def row(point: Point, page: Page) -> str:
    cells = [str(point.number), f"`{point.step}`", words_of_step(point, page)]
    cells += [words_of(point.flow.kind, outcome, page) for outcome in (point.killed, point.raised)]
    return f"| {' | '.join(cells)} |"


def words_of_step(point: Point, page: Page) -> str:
    words = STEP_WORDS.get(f"{point.flow.kind}.{point.step}", STEP_WORDS[point.step])
    return words[page.language]


def words_of(kind: Kind, outcome: Outcome, page: Page) -> str:
    return OUTCOME_WORDS[kind, outcome][page.language]


if __name__ == "__main__":
    main()
