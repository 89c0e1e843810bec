"""`manage.py doctor`: what is wrong with this installation, and how to mend it."""

import json
from typing import Any

from django.core.management.base import CommandParser

from shop.commands import Exit, ShopCommand
from shop.local import diagnosis


class Command(ShopCommand):
    help = (
        "Looks at versions, settings, PostgreSQL, Redis, clock, limits, migrations and disk, and says how to mend what"
        " is wrong. Exit code 0: all well; 3: something is wrong; 4: neither server answers."
    )
    examples = "  manage.py doctor\n  manage.py doctor --json | python -m json.tool"

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> int | None:
        found = diagnosis.diagnose()
        if options["json"]:
            self.stdout.write(json.dumps(diagnosis.as_document(found), ensure_ascii=False))
        else:
            self.show(found)
        if not found.is_anything_reachable:
            return Exit.UNREACHABLE
        return Exit.OK if all(finding.ok for finding in found.findings) else Exit.VIOLATIONS

    def show(self, found: diagnosis.Diagnosis) -> None:
        self.stdout.write("versions")
        for name, version in found.versions.items():
            self.stdout.write(f"     {name:<20} {version}")
        self.stdout.write("settings")
        for name, value in found.settings.items():
            self.stdout.write(f"     {name:<20} {value}")
        self.stdout.write("findings")
        for finding in found.findings:
            self.stdout.write(f"{'  ok' if finding.ok else '  !!'} {finding.name:<20} {finding.detail}")
            if not finding.ok:
                self.stdout.write(f"     {'':<20} -> {finding.fix}")
        wrong = sum(not finding.ok for finding in found.findings)
        self.stdout.write(f"{len(found.findings)} looked at, {wrong} wrong")
