"""A report as Markdown; charts are in the HTML, their peaks stand here as a table."""

from loadtests.document import Block, Bullets, Code, Document, Figures, Heading, Link, Table, Text


def text(document: Document) -> str:
    """Return the whole document."""
    head = [f"# {document.title}", " · ".join(document.facts)]
    if document.verdict:
        head.append(f"**{document.verdict}**")
        head.append("\n".join(f"- {reason}" for reason in document.reasons))
    return "\n\n".join([*head, *(_block(block) for block in document.blocks)]) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text=said):
            return f"## {said}"
        case Text(text=said):
            return said
        case Bullets(items=items):
            return "\n".join(f"- {item}" for item in items)
        case Code(text=said):
            return f"```\n{said}\n```"
        case Table():
            return _table(block)
        case Link(text=said, target=target):
            return f"[{said}]({target})"
        case Figures():
            return _figures(block)


def _table(table: Table) -> str:
    rule = ["---" if position in table.words else "---:" for position in range(len(table.head))]
    rows = [table.head, rule, *table.rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _figures(figures: Figures) -> str:
    rows = []
    for chart in figures.charts:
        for line in chart.lines:
            if line.points:
                values = [value for _at, value in line.points]
                numbers = [min(values), sum(values) / len(values), max(values)]
                rows.append([f"{chart.title}: {line.label}", *(f"{number:,.4g}" for number in numbers)])
    return _table(Table(["", "min", "avg", "max"], rows))
