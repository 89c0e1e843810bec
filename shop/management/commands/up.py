"""`manage.py up`: the whole shop in the foreground."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop.commands import CommandFailed, Exit, ShopCommand
from shop.local import running, session
from shop.local.errors import CannotStart


class Command(ShopCommand):
    help = (
        "Runs the whole shop in the foreground: PostgreSQL and Redis (embedded, unless DATABASE_URL / REDIS_URL name"
        " others), migrations, demo data, web, worker, beat, metrics. Prints `ready URL` when requests can come."
    )
    examples = (
        "  manage.py up\n"
        "  manage.py up --port 8080 --data-dir /tmp/shop --no-seed\n"
        "  DATABASE_URL=postgres://… REDIS_URL=redis://… manage.py up --workers 4"
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="where the shop answers (default: 8000)")
        parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
        parser.add_argument("--no-seed", action="store_true", help="leave an empty database empty")

    def run(self, **options: Any) -> int | None:
        if session.current is None:
            raise CommandError("`up` must be started by manage.py: it takes the data directory before settings load")
        try:
            running.run(session.current, port=options["port"], workers=options["workers"], seed=not options["no_seed"])
        except CannotStart as error:
            raise CommandFailed(str(error), exit_code=Exit(error.exit_code)) from error
        return Exit.OK
