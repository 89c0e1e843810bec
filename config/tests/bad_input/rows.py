"""What a row of the catalogue is."""

from dataclasses import dataclass, field
from typing import Any


class Made(str):
    """Stands in a body for something the scene makes: `Made("product")` becomes the id of a product."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request. `path`, `headers` and `raw` may name what the scene makes in braces: `/orders/{others_order}`.

    `raw` is sent as it stands instead of everything else: for what an HTTP client would mend or refuse to send.
    """

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    who: str = "customer"
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One number of the catalogue: every one of its requests gets this status and, of a problem, this code.

    `before` is sent first and answered with `before_status`, or with success. `scenario` names a way of sending that is
    more than one after the other (config/tests/bad_input/sending.py). `headers` are patterns of the answer's headers,
    None for one that is absent; `pointer` is one of its `errors`, `facts` are in its document, too; `one_answer` says
    that all answers are the same.

    A refusal leaves every table as it is, but for those it `may_change`; `charged` is what the customer's wallet gains.
    `is_servers_own` answers come from the web server before the shop sees anything. `failure` is how the order fails
    that was accepted first.
    """

    number: int
    what: str
    requests: tuple[Request, ...]
    status: int
    code: str = ""
    pointer: str = ""
    headers: dict[str, str | None] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    one_answer: bool = False
    before: tuple[Request, ...] = ()
    before_status: int = 0
    scenario: str = "one_by_one"
    failure: str = ""
    charged: int = 0
    may_change: tuple[str, ...] = ()
    is_servers_own: bool = False

    @property
    def is_refusal(self) -> bool:
        return self.status >= 400 or bool(self.failure)


def get(path: str, who: str = "customer", **headers: str) -> Request:
    return Request("GET", path, headers=headers, who=who)


def post(path: str, body: Any = None, who: str = "customer", **headers: str) -> Request:
    """Return a POST of `body` as JSON, or just as it is if it is bytes."""
    return Request("POST", path, body, headers, who)


def raw(data: bytes) -> Request:
    return Request("RAW", "", raw=data)


LINE, CLOSE = b"Host: 127.0.0.1\r\n", b"Connection: close\r\n\r\n"
