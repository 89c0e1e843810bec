"""
The Korean catalogue: every sentence the shop says, taken from the sources and kept complete (`make messages`).

Babel does what `makemessages` needs gettext's programs for. Unfold ships no translations, so its sentences stand in our
catalogue too: those that neither Django nor django-import-export translate. Nothing here runs in production; the
compiled catalogue is part of the sources.
"""

import io
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import django
import unfold
from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po
from django.apps import apps
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("balance", "catalog", "config", "coupons", "loadtests", "orders", "shop")
PO_FILE = ROOT / "locale" / "ko" / "LC_MESSAGES" / "django.po"
MO_FILE = PO_FILE.with_suffix(".mo")
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3)),
}
SAME_DATE = datetime(2026, 1, 1, tzinfo=UTC)  # the same sources make the same file
LINE_WIDTH = 120

Key = tuple[str, str | None]
Found = tuple[str | tuple[str, ...], str | None]
"""A msgid (singular and plural, if it has both) and its context."""


def _sources(folder: Path) -> Iterator[Path]:
    found = (path for ending in ("*.py", "*.html") for path in folder.rglob(ending))
    return (path for path in sorted(found) if not {"tests", "migrations"} & set(path.parts))


def _messages(path: Path) -> Iterator[Found]:
    """Yield what a Python file or a Django template wants translated."""
    text = path.read_text()
    if path.suffix == ".html":
        text = "\n".join(line.strip() for line in templatize(text).splitlines())  # gettext("…") among blanked-out words
    for _line, message, _comments, context in extract("python", io.BytesIO(text.encode()), KEYWORDS):
        yield message, context


def _key(message: str | tuple[str, ...] | list[str], context: str | None) -> Key:
    return (message if isinstance(message, str) else message[0]), context


def _spoken_elsewhere() -> set[Key]:
    """Return the messages that Django and the packages we install speak Korean for."""
    folders = [Path(django.__file__).parent / "conf"]
    folders += [Path(app.path) for app in apps.get_app_configs() if app.name not in ROOMS]
    spoken: set[Key] = set()
    for folder in folders:
        compiled = folder / "locale" / "ko" / "LC_MESSAGES" / "django.mo"
        if compiled.exists():
            with compiled.open("rb") as file:
                spoken |= {_key(message.id, message.context) for message in read_mo(file) if message.string}
    return spoken


def wanted() -> Catalog:
    """Return a catalogue, without translations, of everything that must be spoken Korean."""
    catalog = Catalog(
        locale="ko",
        project="flash-sale-shop",
        version="1",
        msgid_bugs_address="none",
        last_translator="the maintainers",
        language_team="Korean",
        creation_date=SAME_DATE,
        revision_date=SAME_DATE,
        fuzzy=False,
        header_comment="# The shop in Korean. Made by `make messages`; the translations are written by hand.",
    )
    for room in ROOMS:
        for path in _sources(ROOT / room):
            for message, context in _messages(path):
                catalog.add(message, locations=[(str(path.relative_to(ROOT)), 0)], context=context)
    _add_unfold(catalog)
    return catalog


def _add_unfold(catalog: Catalog) -> None:
    """Add what Unfold, without the parts that are not installed, says and nobody translates."""
    package, spoken = Path(unfold.__file__).parent, _spoken_elsewhere()
    installed = {Path(app.path) for app in apps.get_app_configs()}
    left_out = {folder for folder in (package / "contrib").iterdir() if folder not in installed}
    for path in _sources(package):
        if left_out.isdisjoint(path.parents):
            for message, context in _messages(path):
                if _key(message, context) not in spoken:
                    catalog.add(message, locations=[(f"unfold/{path.relative_to(package)}", 0)], context=context)


def written() -> Catalog:
    """Return the catalogue as it stands in the sources."""
    with PO_FILE.open("rb") as file:
        return read_po(file, locale="ko")


def merged() -> Catalog:
    """Return the wanted catalogue with the translations there are; what nobody says any more is gone."""
    catalog, known = wanted(), written() if PO_FILE.exists() else Catalog(locale="ko")
    for message in catalog:
        if message.id and (old := known.get(message.id, message.context)) is not None:
            message.string = old.string
            if "fuzzy" in old.flags:
                message.flags.add("fuzzy")
    return catalog


def as_po(catalog: Catalog) -> bytes:
    """Return the catalogue as text, the same for the same messages."""
    file = io.BytesIO()
    write_po(file, catalog, width=LINE_WIDTH, include_lineno=False, sort_output=True)
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """Return the compiled catalogue."""
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def faults(catalog: Catalog) -> Iterable[str]:
    """Yield what keeps a catalogue from being shipped: missing, fuzzy, or with other placeholders than the source."""
    for message in catalog:
        if not message.id:
            continue
        strings = [message.string] if isinstance(message.string, str) else [*(message.string or [""])]
        if message.fuzzy:
            yield f"fuzzy: {message.id!r}"
        if not all(strings):
            yield f"missing: {message.id!r}"
        elif message.string:
            yield from (f"{error}: {message.id!r}" for error in message.check(catalog))


def main() -> int:
    """Update the catalogue from the sources and compile it; tell what is still to be translated."""
    django.setup()
    catalog = merged()
    PO_FILE.parent.mkdir(parents=True, exist_ok=True)
    PO_FILE.write_bytes(as_po(catalog))
    MO_FILE.write_bytes(as_mo(catalog))
    found = list(faults(catalog))
    sys.stdout.write("".join(f"{fault}\n" for fault in found))
    sys.stderr.write(f"{len(catalog)} messages, {len(found)} faults, in {settings.LOCALE_PATHS[0]}\n")
    return 3 if found else 0


if __name__ == "__main__":
    sys.exit(main())
