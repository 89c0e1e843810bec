"""`manage.py bench`: every figure of docs/performance.md, measured again, in one table."""

import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from loadtests import procfs
from loadtests.bench import charts, figures, parts, tables
from loadtests.bench.figures import Bench
from shop.commands import CommandFailed, Exit, ShopCommand


class Command(ShopCommand):
    help = (
        "Measures everything docs/performance.md quotes, on shops of its own, and prints one table with the command of"
        " each figure; 0: measured, 3: an audit is not clean or something was lost, 1: a part could not be measured."
    )
    examples = """
  python manage.py bench --quick                      about fifteen minutes, rougher
  python manage.py bench                              about an hour; leave the machine alone meanwhile
  python manage.py bench --only settle rush           some parts
  python manage.py bench --report docs/reports/bench  keep bench.json, bench.md and charts; parts not measured stay
"""

    def add_options(self, parser: CommandParser) -> None:
        names = list(parts.PARTS)
        parser.add_argument("--quick", action="store_true", help="shorter runs, fewer rounds, one web server")
        parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
        parser.add_argument("--report", type=Path, metavar="DIR", help="default: bench/ in the data directory")

    def run(self, **options: Any) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop the shops, remove their data
        now = timezone.now()
        directory: Path = options["report"] or settings.DATA_DIR / "bench"
        runs = settings.DATA_DIR / "bench-runs" / f"{now:%Y%m%d-%H%M%S}"  # every load's own report
        runs.mkdir(parents=True, exist_ok=True)
        setting = parts.Setting(directory=runs, quick=options["quick"], say=say)
        measured = []
        for number, name in enumerate(options["only"], start=1):
            say(f"{name} ({number} of {len(options['only'])})")
            measured.append(parts.measure(name, setting))
            bench = bench_of(measured, now, quick=options["quick"])
            page = keep(bench, directory)  # after each part: who ends an hour of measuring early keeps what there is
            say(tables.terminal(bench).splitlines()[-1])
        self.stdout.write(tables.terminal(bench))
        self.stdout.write(f"report: {page}, every load's own in {runs}")
        if bench.exit_code:
            raise CommandFailed(exit_code=Exit(bench.exit_code))
        return Exit.OK


def bench_of(measured: list[figures.Part], now: datetime, *, quick: bool) -> Bench:
    machine = {"cores": procfs.cores(), "memory_mb": procfs.memory_total_mb(), "web": settings.WEB_SERVER}
    how = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} · {'quick' if quick else 'full'}"
    return Bench(machine=machine, parts=[replace(part, how=how) for part in measured])


def keep(bench: Bench, directory: Path) -> Path:
    """Write JSON, Markdown and charts over what was there; return the Markdown file."""
    whole = bench.over(figures.read(directory), order=parts.PARTS)
    figures.write(whole, directory)
    page = directory / "bench.md"
    page.write_text(tables.markdown(whole, charts.write(whole, directory)), encoding="utf-8")
    return page


def say(line: str) -> None:
    """Tell what happens now; results alone go to stdout."""
    print(f"bench: {line}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a long run
