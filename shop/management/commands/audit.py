"""Every invariant against PostgreSQL and Redis; the command an operator believes."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.core.management.base import CommandParser

from shop.commands import Exit, ShopCommand
from shop.invariants import Audit, Violation, audit, invariants


class Command(ShopCommand):
    help = "Check that money, stock, coupons and orders add up; exit code 0 clean, 3 violations."
    examples = """
  python manage.py audit
  python manage.py audit --wait 60       settle first, at most 60 s; then nothing may be under way
  python manage.py audit --json | jq '.violations[]'
"""

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", type=float, metavar="SECONDS", help="wait that long for the shop to settle first")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> int:
        in_database = sum(1 for item in invariants() if item.sql)
        with self.progress("invariants", in_database) as advance:
            result = audit(wait_seconds=options["wait"], progress=advance)
        for line in [as_json(result)] if options["json"] else as_lines(result):
            self.stdout.write(line)
        return Exit.VIOLATIONS if result.violations else Exit.OK


def as_json(result: Audit) -> str:
    """Return the one document that `--json` prints."""
    violations = [{"invariant": v.invariant, "claim": v.claim, "row": v.row} for v in result.violations]
    document = {
        "clean": not violations,
        "checked": result.checked,
        "unchecked": result.unchecked,
        "seconds": round(result.seconds, 2),
        "violations": violations,
    }
    return json.dumps(document, default=str, ensure_ascii=False, indent=2)


def as_lines(result: Audit) -> Iterator[str]:
    """Yield a line per offending row, then the verdict."""
    for violation in result.violations:
        yield str(violation)
    if result.unchecked:
        yield f"not checked while work is under way or Redis is away: {', '.join(result.unchecked)}"
    verdict = f"violated: {in_words(result.violations)}" if result.violations else "clean"
    yield f"{len(result.checked)} invariants checked in {result.seconds:.1f} s: {verdict}"


def in_words(violations: list[Violation]) -> str:
    """Return `M1 (2 rows), S2 (1 row)`."""
    counts = [(name, len(list(rows))) for name, rows in groupby(violations, key=lambda item: item.invariant)]
    return ", ".join(f"{name} ({count} row{'s' if count > 1 else ''})" for name, count in counts)
