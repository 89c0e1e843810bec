"""`manage.py drill`: one fault under load, measured, audited, and compared with what customers were told."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from loadtests.drills import incident, registry, season, sheet, summary
from loadtests.drills.incident import Incident, Pace
from loadtests.drills.registry import Drill
from loadtests.drills.texts import say
from shop.commands import CommandFailed, Exit, ShopCommand


class Command(ShopCommand):
    help = (
        "Injects one fault after another into shops of their own, under load; measures detection and recovery, audits,"
        " and compares what customers were told with the database. Exit code 0: all held; 3: something did not."
    )
    examples = """
  python manage.py drill --list
  python manage.py drill postgres-outage
  python manage.py drill redis network --seed 7      two groups, other dice; the same seed is the same schedule
  python manage.py drill all --report reports/drills
  python manage.py drill wakeups-lost --control      without the guard: must fail
"""

    def add_options(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("names", nargs="*", metavar="NAME", help=f"drills, groups ({', '.join(registry.GROUPS)}) or all")
        add("--list", action="store_true", help="list the drills")
        add("--seed", type=int, default=1, metavar="N", help="other dice, another schedule (default: 1)")
        add("--report", type=Path, metavar="DIR", help="where the sheets go (default: drills/ in the data directory)")
        add(
            "--control",
            action="store_true",
            help="take the guard away that the drill tests: then it must fail, for that reason",
        )

    def run(self, **options: Any) -> int:
        if options["list"]:
            return self._list()
        try:
            drills = registry.chosen(options["names"])
        except KeyError as error:
            message = f"no such drill: {error.args[0]}; see python manage.py drill --list"
            raise CommandFailed(message, exit_code=Exit.USAGE) from error
        if options["control"]:
            drills = without_guards(drills)
        if not drills:
            raise CommandFailed("nothing to drill: see python manage.py drill --help", exit_code=Exit.USAGE)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: heal, stop the shop, remove its data
        directory = options["report"] or settings.DATA_DIR / "drills" / f"{timezone.now():%Y%m%d-%H%M%S}"
        incidents = self._play(drills, seed=options["seed"], directory=directory)
        for line in summary.lines([one.summary for one in incidents]):
            self.stdout.write(line)
        self.stdout.write(f"sheets: {summary.write(directory)[0]}")
        return Exit.OK if all(one.is_as_meant for one in incidents) else Exit.VIOLATIONS

    def _list(self) -> int:
        for drill in registry.drills().values():
            control = f"; control: without {drill.control.without}" if drill.control else ""
            self.stdout.write(
                f"{drill.name:<26} {drill.group:<10} {drill.faults:<9} {say('titles', drill.name, 'en')}{control}"
            )
        return Exit.OK

    def _play(self, drills: Sequence[Drill], *, seed: int, directory: Path) -> list[Incident]:
        incidents = []
        for one in season.play(drills, seed=seed, pace=Pace(), say=self.stderr.write):
            incidents.append(one)
            own = directory / one.drill.name
            own.mkdir(parents=True, exist_ok=True)
            incident.write(one, own)
            sheet.write(one, own)
            self.stderr.write(f"[{len(incidents)}/{len(drills)}] {one.drill.name}: {one.word}")
            if not one.is_as_meant:
                self.stderr.write(f"    not as it was meant to end: {one.word}")
            if one.word != "PASS":
                for reason in sheet.reasons(one, "en"):
                    self.stderr.write(f"    {reason}")
        return incidents


def without_guards(drills: Sequence[Drill]) -> list[Drill]:
    """Return the drills that have a negative control, with the guard taken away; each must fail one named check."""
    return [
        replace(drill, plan=replace(drill.plan, without=drill.control.without)) for drill in drills if drill.control
    ]
