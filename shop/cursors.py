"""
Keyset pagination: an opaque cursor holds the last row's sort key and id, so depth costs nothing.

A cursor belongs to one list (sort and filters); used with another it is refused. It is signed, so that a forged one
never reaches the database.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from shop import jsontext
from shop.errors import InvalidCursor, InvalidJson
from shop.inputs import Number, Opaque, Parameter

DEFAULT_SIZE, MAX_SIZE = 20, 100  # API.md "Lists"
PAGE_PARAMETERS: dict[str, Parameter] = {"size": Number(1, MAX_SIZE, DEFAULT_SIZE), "cursor": Opaque()}
SIGNATURE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: just behind (or, `backward`, just before) the row with this sort key and id."""

    key: int
    row_id: int
    backward: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows (dicts with the keys that clients see) and whether rows lie on either side of it."""

    rows: list[dict[str, Any]]
    first: Position | None = None
    last: Position | None = None


def _signature(payload: bytes, scope: str) -> bytes:
    message = scope.encode() + b"\0" + payload
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).digest()[:SIGNATURE_BYTES]


def encode(position: Position, scope: str) -> str:
    """Return `position` as an opaque cursor of the list `scope`."""
    payload = jsontext.dump([position.key, position.row_id, position.backward])
    return base64.urlsafe_b64encode(_signature(payload, scope) + payload).rstrip(b"=").decode()


def decode(text: str, scope: str) -> Position:
    """Return the position in a cursor made for the list `scope`. Raises InvalidCursor."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, _signature(payload, scope)):
            raise InvalidCursor
        key, row_id, backward = jsontext.load(payload)
    except (binascii.Error, ValueError, InvalidJson) as error:
        raise InvalidCursor from error
    return Position(key=key, row_id=row_id, backward=backward)


def cut(rows: list[dict[str, Any]], keys: list[tuple[int, int]], *, size: int, position: Position | None) -> Page:
    """
    Return the page that `rows` (up to size + 1 of them, in reading order of the query) make.

    Shapes: keys[i] is (sort key, id) of rows[i]; a backward query reads upwards and is turned round here.
    """
    backward = position is not None and position.backward
    more = len(rows) > size
    rows, keys = rows[:size], keys[:size]
    if backward:
        rows, keys = rows[::-1], keys[::-1]
    has_previous = more if backward else position is not None
    has_next = True if backward else more
    return Page(
        rows=rows,
        first=Position(*keys[0], backward=True) if keys and has_previous else None,
        last=Position(*keys[-1]) if keys and has_next else None,
    )


def envelope(url: str, query: Mapping[str, object], page: Page, scope: str) -> tuple[dict[str, Any], str]:
    """
    Return the list document of API.md "Lists" and the value of its `Link` header (empty without links).

    Shapes: url without a query; query holds the known parameters of this list that were given, for the links.
    """
    kept = {name: value for name, value in query.items() if value is not None and name not in ("cursor", "page")}
    urls = {
        name: f"{url}?{urlencode({**kept, 'cursor': encode(position, scope)})}" if position else None
        for name, position in (("next", page.last), ("previous", page.first))
    }
    relations = {"next": "next", "previous": "prev"}
    header = ", ".join(f'<{link}>; rel="{relations[name]}"' for name, link in urls.items() if link)
    return {"results": page.rows, **urls}, header


def listed(request: HttpRequest, query: Mapping[str, object], page: Page, scope: str) -> HttpResponse:
    """Return a page of the caller's own things as a private list answer."""
    document, link = envelope(request.build_absolute_uri(request.path), query, page, scope)
    response = HttpResponse(jsontext.dump(document), content_type="application/json")
    response["Cache-Control"] = "private, no-store"
    if link:
        response["Link"] = link
    return response
