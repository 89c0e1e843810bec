"""
Public answers that a web process gives again as they are, without Django and without a thread.

Note [Ready answers]
~~~~~~~~~~~~~~~~~~~~
Eight in ten requests of the shop's load are for a few public pages, which `shop.representations` keeps as ready bytes;
what they cost was everything around the bytes. So the first answer to an address is kept here, headers and all, for
just as long as the process keeps its representation, and the thread that reads sockets gives it itself: no thread is
woken and nobody waits (docs/decisions/0019). Whatever may make an answer differ is part of the address, or the request
goes the usual way: another method, a body, a condition. Who is let in has been decided before.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shop import metrics
from shop.middleware import request_id_of

Headers = list[tuple[str, str]]
Address = tuple[str | None, ...]

MOST = 2_000  # as many as the process keeps representations
PARTS = ("PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_X_FORWARDED_PROTO")  # links in a list begin with the last two
UNUSUAL = ("HTTP_IF_NONE_MATCH", "CONTENT_LENGTH")


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer that stays right until `until` (monotonic seconds); a WSGI application."""

    until: float
    route: str
    headers: Headers
    body: bytes

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [*self.headers, ("X-Request-Id", request_id_of(environ))])
        metrics.observe(method="GET", route=self.route, status=200, seconds=0.0)
        return (self.body,)


_kept: dict[Address, Ready] = {}  # entries are replaced whole and never changed: threads need no lock


def _address_of(environ: Mapping[str, Any]) -> Address:
    return tuple(map(environ.get, PARTS))


def keep(environ: Mapping[str, Any], answer: Ready) -> None:
    """Give this answer to whoever asks the same, while it is right."""
    if len(_kept) >= MOST:
        _kept.clear()  # in one step; addresses come from clients, and what is asked for is soon here again
    _kept[_address_of(environ)] = answer


def find(environ: Mapping[str, Any]) -> Ready | None:
    """Return the answer to this request, None if it must be asked for the usual way."""
    answer = _kept.get(_address_of(environ))
    if answer is None or answer.until <= time.monotonic() or environ["REQUEST_METHOD"] != "GET":
        return None
    return None if any(map(environ.get, UNUSUAL)) else answer


def forget() -> None:
    """Keep none of them any longer: an operator changed what customers see."""
    _kept.clear()
