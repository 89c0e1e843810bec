"""Operators' reports by day of the shop's calendar."""

import csv
import io
import json
import unicodedata
from argparse import ArgumentTypeError
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from shop.commands import CommandFailed, Exit, ShopCommand
from shop.reports import FORMULA, Days, Sheet, reports, run_report

LARGEST_LIMIT = 1_000_000


def a_day(text: str) -> date:
    """Return the date in `text`. Raises ArgumentTypeError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a date like 2026-05-31") from error


class Command(ShopCommand):
    help = "Print a report; days are the shop's, money is in the currency's minor unit."
    examples = """
  python manage.py report sales
  python manage.py report top-selling --from 2026-05-01 --to 2026-06-01 --limit 50
  python manage.py report ledger --format csv > ledger.csv
  python manage.py report coupons --format json | jq '.rows[] | .name'
"""

    def add_options(self, parser: CommandParser) -> None:
        about = "; ".join(f"{item.name}: {item.about}" for item in reports().values())
        parser.add_argument("report", choices=list(reports()), metavar="REPORT", help=about)
        parser.add_argument("--from", dest="first", type=a_day, metavar="DAY", help="first day (default: 6 days ago)")
        parser.add_argument(
            "--to", dest="after", type=a_day, metavar="DAY", help="day after the last (default: tomorrow)"
        )
        parser.add_argument("--limit", type=int, default=20, metavar="N", help="rows of top-selling (default: 20)")
        parser.add_argument("--format", choices=["table", "csv", "json"], default="table", help="default: table")

    def run(self, **options: Any) -> None:
        days = self._days(options["first"], options["after"])
        if not 1 <= options["limit"] <= LARGEST_LIMIT:
            raise CommandFailed(f"--limit must be from 1 to {LARGEST_LIMIT:,}", exit_code=Exit.USAGE)
        sheet = run_report(name=options["report"], days=days, limit=options["limit"])
        if options["format"] == "table":
            self.stderr.write(
                f"{options['report']} from {days.first} until before {days.after_last} ({in_which_terms()})"
            )
            self.stdout.write(as_table(sheet))
        elif options["format"] == "csv":
            self.stdout.write(as_csv(sheet), ending="")
        else:
            self.stdout.write(as_json(options["report"], days, sheet))

    def _days(self, first: date | None, after: date | None) -> Days:
        today = timezone.now().astimezone(ZoneInfo(settings.SHOP_TIME_ZONE)).date()
        after = after or today + timedelta(days=1)
        try:
            days = Days(first or after - timedelta(days=7), after)
        except OverflowError as error:
            raise CommandFailed(f"--to {after} is too early for a week before it", exit_code=Exit.USAGE) from error
        if days.first >= days.after_last:
            raise CommandFailed(f"--from {days.first} is not before --to {days.after_last}", exit_code=Exit.USAGE)
        return days


def in_which_terms() -> str:
    """Return the time zone and currency the figures are in."""
    return f"{settings.SHOP_TIME_ZONE}, {settings.SHOP_CURRENCY}"


def as_json(name: str, days: Days, sheet: Sheet) -> str:
    """Return one document; times are RFC 3339 with the shop's offset."""
    document = {
        "report": name,
        "from": days.first,
        "to": days.after_last,
        "time_zone": settings.SHOP_TIME_ZONE,
        "currency": settings.SHOP_CURRENCY,
        "rows": [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows],
    }
    return json.dumps(document, default=lambda value: value.isoformat(), ensure_ascii=False, indent=2)


def as_csv(sheet: Sheet) -> str:
    """Return UTF-8 text without a byte order mark, lines ended by one line feed; formulas are quoted away."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(sheet.columns)
    writer.writerows([_harmless(cell) for cell in row] for row in sheet.rows)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return cell.isoformat()
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def as_table(sheet: Sheet) -> str:
    """Return aligned columns: numbers to the right with thousands separated, Hangul counted as two wide."""
    cells = [[_shown(name, cell) for name, cell in zip(sheet.columns, row, strict=True)] for row in sheet.rows]
    widths = [max(map(_width, column)) for column in zip(sheet.columns, *cells, strict=True)]
    is_number = [all(isinstance(row[i], int) for row in sheet.rows) and bool(sheet.rows) for i in range(len(widths))]
    lines = [
        "  ".join(
            _padded(cell, width, right) for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in [sheet.columns, *cells]
    ]
    return "\n".join(lines if cells else [*lines, "(nothing)"])


def _shown(name: str, cell: Any) -> str:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M}"
    is_amount = isinstance(cell, int) and not name.endswith("_id")
    return f"{cell:,}" if is_amount else "" if cell is None else str(cell)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _padded(text: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if right else text + gap
