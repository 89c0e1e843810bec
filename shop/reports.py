"""
What operators want to know by day: the registry the apps' `reports` modules fill, and the run of one report.

A report is SQL over a half-open range of days in the shop's time zone; it may use %(from)s, %(to)s (the days' first
moments), %(from_date)s, %(to_date)s, %(zone)s and %(limit)s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.utils.module_loading import autodiscover_modules

Cell = Any
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run text that begins with one of these


@dataclass(frozen=True, slots=True)
class Report:
    """A report by name; `about` is one line for --help."""

    name: str
    about: str
    sql: str


@dataclass(frozen=True, slots=True)
class Days:
    """A half-open range of days of the shop's calendar."""

    first: date
    after_last: date

    @property
    def params(self) -> dict[str, Any]:
        """The values a report's SQL refers to by name."""
        zone = ZoneInfo(settings.SHOP_TIME_ZONE)
        return {
            "from": datetime.combine(self.first, time(), zone),
            "to": datetime.combine(self.after_last, time(), zone),
            "from_date": self.first,
            "to_date": self.after_last,
            "zone": settings.SHOP_TIME_ZONE,
        }


@dataclass(frozen=True, slots=True)
class Sheet:
    """The result of a report: times in the shop's zone, money in minor units."""

    columns: list[str]
    rows: list[list[Cell]]


_reports: dict[str, Report] = {}


def report(name: str, about: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function that returns a report's SQL."""

    def register(function: Callable[[], str]) -> Callable[[], str]:
        _reports[name] = Report(name, about, function())
        return function

    return register


@cache
def reports() -> Mapping[str, Report]:
    """Return every report, after the apps' `reports` modules have been read."""
    autodiscover_modules("reports")
    return _reports


def run_report(*, name: str, days: Days, limit: int) -> Sheet:
    """Run one report. Shapes: name is one of `reports()`; limit bounds ranked reports."""
    zone = ZoneInfo(settings.SHOP_TIME_ZONE)
    with connection.cursor() as cursor:
        cursor.execute(reports()[name].sql, days.params | {"limit": limit})
        columns = [column.name for column in cursor.description or ()]
        return Sheet(columns, [[_cell(value, zone) for value in row] for row in cursor.fetchall()])


def _cell(value: Cell, zone: ZoneInfo) -> Cell:
    """Return times in the shop's zone and PostgreSQL's sums of bigint, which are numeric, as integers."""
    if isinstance(value, datetime):
        return value.astimezone(zone)
    return value if value is None or isinstance(value, str | date) else int(value)
