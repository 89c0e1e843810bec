"""
What every command of the shop shares: where the running shop is, exit codes, progress, one clear line when it fails.

A command derives from `ShopCommand`, sets `help` and `examples`, adds its arguments in `add_options` and does its work
in `run`. Results go to stdout, everything else to stderr.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, ClassVar

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.utils.connection import ConnectionDoesNotExist

UNDEFINED_TABLE, NOT_ALLOWED = "42P01", "42501"
NO_TABLES = "the database has not all tables yet: python manage.py migrate"


class Exit(IntEnum):
    """What the exit code of a command means."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    VIOLATIONS = 3  # of an invariant or a threshold: the command worked, what it looked at is wrong
    UNREACHABLE = 4
    REFUSED = 5  # for safety
    INTERRUPTED = 130


class CommandFailed(Exception):
    """The command ends here with this exit code; the message, if any, is one line for stderr."""

    def __init__(self, message: str = "", *, exit_code: Exit = Exit.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ExamplesFormatter(DjangoHelpFormatter):
    """Keep the line breaks of the examples below the options."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in text.strip().splitlines())


class ShopCommand(BaseCommand):
    """
    A command of the shop. `run` returns its exit code (None is 0) or raises CommandFailed.

    `examples` stand below the options in `--help`. An unreachable PostgreSQL or Redis ends in one line and exit code 4.
    """

    examples: ClassVar[str] = ""
    requires_system_checks = []
    suppressed_base_arguments = {
        *("--version", "--verbosity", "--settings", "--pythonpath"),
        *("--traceback", "--no-color", "--force-color", "--skip-checks"),
    }

    def add_options(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def run(self, **options: Any) -> int | None:
        """Do the work."""
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = f"examples:\n{self.examples}" if self.examples else None
        return super().create_parser(prog_name, subcommand, formatter_class=ExamplesFormatter, epilog=epilog, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_options(parser)
        # manage.py has read it before the settings were loaded; it stands here for --help and to be accepted.
        parser.add_argument("--data-dir", metavar="DIR", help="where `up` keeps the running shop (default: var)")

    def handle(self, *_: object, **options: Any) -> None:
        try:
            exit_code = Exit(self.run(**options) or Exit.OK)
        except (OperationalError, InterfaceError, ConnectionDoesNotExist) as error:
            if not is_unreachable(error):
                raise
            raise CommandFailed(no_database(error), exit_code=Exit.UNREACHABLE) from error
        except ProgrammingError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in (UNDEFINED_TABLE, NOT_ALLOWED):
                raise
            raise CommandFailed(not_allowed(error) if state == NOT_ALLOWED else NO_TABLES) from error
        except redis.ConnectionError as error:
            raise CommandFailed(no_redis(error), exit_code=Exit.UNREACHABLE) from error
        except KeyboardInterrupt as error:
            raise CommandFailed("interrupted", exit_code=Exit.INTERRUPTED) from error
        if exit_code:
            raise CommandFailed(exit_code=exit_code)

    def run_from_argv(self, argv: list[str]) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was begun beside the shop goes away
        try:
            super().run_from_argv(argv)
        except CommandFailed as failure:
            if message := str(failure):
                self.stderr.write(message)
            sys.exit(failure.exit_code)
        except BrokenPipeError:  # `report … | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(Exit.OK)

    @contextmanager
    def progress(self, description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Yield `advance(n)`; shows a bar on stderr when that is a terminal, nothing else."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console  # noqa: PLC0415 - 60 ms nobody without a terminal should pay
        from rich.progress import Progress  # noqa: PLC0415 - likewise

        with Progress(console=Console(stderr=True), transient=True) as bars:  # rich itself honours NO_COLOR
            task = bars.add_task(description, total=total)
            yield lambda count: bars.advance(task, count)


def is_unreachable(error: Exception) -> bool:
    """Tell a server that is away from one that refused a statement (those carry an SQLSTATE of their own)."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))


def no_shop() -> str:
    """Return the line for someone who has not started anything yet."""
    directory = os.path.relpath(settings.DATA_DIR)
    return (
        f"no running shop found in {directory}/: start it with python manage.py up, or set DATABASE_URL and REDIS_URL"
    )


def no_database(error: Exception) -> str:
    if not settings.DATABASE_URL:
        return no_shop()
    return f"PostgreSQL does not answer: {_first_line(error)}; `python manage.py doctor` looks closer"


def no_redis(error: Exception) -> str:
    if not settings.DATABASE_URL:
        return no_shop()
    return f"Redis does not answer: {_first_line(error)}; `python manage.py doctor` looks closer"


def not_allowed(error: Exception) -> str:
    return f"{_first_line(error)}: `python manage.py grant_roles` gives each role its rights"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
