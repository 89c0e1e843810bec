"""The OpenAPI document the web serves; built here because building it takes a second and 20 MB."""

from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import CommandParser

from shop.commands import CommandFailed, Exit, ShopCommand


class Command(ShopCommand):
    help = "Build the OpenAPI document from the code; exit code 3 if --check finds another one."
    examples = """
  python manage.py openapi            after a change of the API
  python manage.py openapi --check    in CI
"""

    def add_options(self, parser: CommandParser) -> None:
        default = Path(settings.BASE_DIR) / "config" / "openapi.json"
        parser.add_argument("--check", action="store_true", help="change nothing; compare the file with the code")
        parser.add_argument("--file", type=Path, metavar="FILE", default=default, help="(default: config/openapi.json)")

    def run(self, **options: Any) -> int:
        from shop import openapi  # noqa: PLC0415 - the other commands of this process need no drf-spectacular

        try:
            text = as_text(openapi.build())
        except openapi.BadDocument as error:
            raise CommandFailed(str(error)) from error
        file: Path = options["file"]
        if not options["check"]:
            file.write_bytes(text)
        elif not file.exists() or file.read_bytes() != text:
            raise CommandFailed(
                f"{file.name} is not what the code says: run manage.py openapi", exit_code=Exit.VIOLATIONS
            )
        return Exit.OK


def as_text(document: dict[str, Any]) -> bytes:
    """Return the document as it is stored: the same for the same code, and readable as a diff."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
