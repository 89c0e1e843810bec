"""
HTTP/1.1 between a socket and a WSGI application: bytes in, whole requests out; an answer in, bytes out.

Parsing is httptools' (llhttp, the parser of Node.js), strict. What is ours are the limits, and that a request exists
only when all of it has arrived: whoever sends it slowly holds a socket and never a thread.
"""

import io
import random
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
import orjson

LINE_LIMIT, HEADER_LIMIT, HEADER_COUNT = 4_094, 8_190, 100  # FAULTS.md B38-B40
HEAD_LIMIT = 32_768
BODY_LIMIT = 65_536  # the API's own limit (API.md): of a longer body the API hears only how long it is
UPLOAD_LIMIT = 10_485_760
FORM_LIMIT = 524_288  # a long description in Hangul, twice, at nine letters a syllable
FORMS = re.compile(r"/admin/.+/(add|change)/")
UPLOADS = re.compile(r"/admin/.*/import/")  # operators import files there
LARGE_AT_ONCE = 4  # bodies beyond the API's limit, in a process: they wait in memory, whoever sends them
PIPELINED_LIMIT = 16

SHARED_ENVIRON: dict[str, Any] = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",  # TLS ends at the proxy; whether it is believed is for the settings to say
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "SERVER_SOFTWARE": "gunicorn",
    "SCRIPT_NAME": "",
}


def refusal(status: HTTPStatus) -> bytes:
    """Return the whole answer to a request that cannot be read, after which the connection ends."""
    request_id = f"{random.getrandbits(64):016x}"
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "code": status.name.lower(),
        "detail": "The shop failed." if status >= 500 else "The request could not be read.",
        "request_id": request_id,
    }
    body = orjson.dumps(document)
    fields = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        "X-Request-Id": request_id,
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        fields["Retry-After"] = "1"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + body


class Unreadable(Exception):
    """Raised inside the parser: the request is refused with `reason`."""

    def __init__(self, reason: HTTPStatus) -> None:
        super().__init__(reason)
        self.reason = reason


class Request:
    """One whole request: the WSGI environment, whether the connection ends after it, and when all of it was here."""

    __slots__ = ("arrived_at", "environ", "is_last")

    def __init__(self, environ: dict[str, Any], *, is_last: bool) -> None:
        self.environ, self.is_last, self.arrived_at = environ, is_last, time.monotonic()


class Connection:
    """
    A client's socket and what was read of its requests. Read by the loop's thread; answered by one thread at a time.

    `is_busy` and `requests` change under `lock`: the loop adds a request just while a thread finds none left.
    """

    __slots__ = (
        *("sock", "descriptor", "environ", "lock", "is_busy", "requests", "deadline", "is_ending", "is_deaf", "unsent"),
        *("_parser", "_base", "_url", "_body", "_size", "_limit", "_head_size", "_in_head"),
        *("_fields", "_fields_size", "_is_body_unread", "_has_moved", "is_in_request"),
    )

    def __init__(self, sock: socket.socket, peer: tuple[Any, ...], *, deadline: float) -> None:
        self.sock, self.descriptor = sock, sock.fileno()
        self.lock = threading.Lock()
        self.requests: deque[Request] = deque()
        self.deadline = deadline
        self.is_busy = self.is_ending = self.is_deaf = False
        self.unsent = b""
        address, port = sock.getsockname()[:2]
        local = {"SERVER_NAME": address, "SERVER_PORT": str(port), "REMOTE_ADDR": peer[0], "REMOTE_PORT": str(peer[1])}
        self._base = SHARED_ENVIRON | local
        self._parser = httptools.HttpRequestParser(self)
        self._in_head, self._head_size, self._is_body_unread, self._has_moved = False, 0, False, False
        self._limit = BODY_LIMIT
        self.is_in_request = False  # one has begun and not yet come to its end; blank lines before it are none of it

    @property
    def is_large(self) -> bool:
        """Whether a body is under way that has grown beyond what the API takes."""
        return self.is_in_request and not self._in_head and not self.is_deaf and self._size > BODY_LIMIT

    def feed(self, data: bytes) -> None:
        """
        Take what the socket gave; whole requests appear in `requests`.

        Raises: Unreadable; the connection is then deaf, as it is after a request whose body is not wanted.
        """
        if self.is_deaf:
            return
        was_in_body, self._has_moved = self.is_in_request and not self._in_head, False
        self._head_size += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.is_deaf = True
            raise (cause if isinstance(cause, Unreadable) else Unreadable(HTTPStatus.BAD_REQUEST)) from None
        if not self.is_in_request or self._has_moved:
            self._head_size = 0
        is_trailer = was_in_body and not self._has_moved  # or a chunk's extension: neither comes to an end by itself
        if (self._in_head or is_trailer) and self._head_size > HEAD_LIMIT:
            self.is_deaf = True
            raise Unreadable(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        """
        Parse on, past a wish for another protocol.

        RFC 9110, 7.8 lets a server ignore it; the parser does not, and takes what follows for that protocol. Java's
        HttpClient wishes for `h2c` with its first request, and the body of a POST follows.
        """
        while data and not self.is_deaf:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as wish:
                data = data[wish.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            if self._is_body_unread:
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % self._framing())

    def _framing(self) -> bytes:
        """Return the header that says where the body ends."""
        if "HTTP_TRANSFER_ENCODING" in self.environ:
            return b"Transfer-Encoding: chunked\r\n"
        return b"Content-Length: %d\r\n" % self._length()

    def _length(self) -> int:
        return int(self.environ.get("CONTENT_LENGTH") or 0)

    # --- called by the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_body_unread:
            return  # the head is known: only its framing was repeated
        self.environ = self._base.copy()
        self._url, self._size, self._in_head, self.is_in_request = b"", 0, True, True
        self._fields = self._fields_size = 0
        self._body: list[bytes] = []

    def on_url(self, part: bytes) -> None:
        if not self._in_head:
            return
        self._url += part
        if len(self._url) > LINE_LIMIT:
            raise Unreadable(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: it comes after the body and must not pass for a header, a token least of all
        size = len(name) + len(value)
        self._fields += 1
        self._fields_size += size
        if size > HEADER_LIMIT or self._fields > HEADER_COUNT or self._fields_size > HEAD_LIMIT:
            raise Unreadable(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        key = ENVIRON_KEYS.get(name) or environ_key(name)
        if not key:
            return
        text = value.decode("latin-1").strip(" \t")
        if key in self.environ:
            if key == "HTTP_HOST":
                raise Unreadable(HTTPStatus.BAD_REQUEST)
            text = f"{self.environ[key]},{text}"
        self.environ[key] = text

    def on_headers_complete(self) -> None:
        if self._is_body_unread:
            self._is_body_unread = False  # now it is read
            return
        self._in_head = False
        environ = self.environ
        environ["REQUEST_METHOD"] = self._parser.get_method().decode("latin-1")
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Unreadable(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if version == "1.1" and "HTTP_HOST" not in environ:
            raise Unreadable(HTTPStatus.BAD_REQUEST)  # RFC 9112, 3.2
        coding = environ.get("HTTP_TRANSFER_ENCODING")
        if coding is not None and coding.lower() != "chunked":
            raise Unreadable(HTTPStatus.NOT_IMPLEMENTED)  # RFC 9112, 6.1: a body that cannot be decoded is not a body
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        set_target(environ, self._url)
        self._limit = limit_of(environ["PATH_INFO"])
        if self._length() > self._limit:
            self._last()
            return
        self._is_body_unread = self._parser.should_upgrade() and (coding is not None or self._length() > 0)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # 25 bytes to a client that waits for them

    def on_chunk_header(self) -> None:
        self._has_moved = True

    def on_body(self, part: bytes) -> None:
        if self.is_deaf:
            return
        self._has_moved = True
        self._body.append(part)
        self._size += len(part)
        if self._size > self._limit:
            self._last()

    def on_message_complete(self) -> None:
        if self.is_deaf or self._is_body_unread:
            return
        if not self._parser.should_keep_alive():
            self._last()
            return
        self._add_request(is_last=False)

    def _last(self) -> None:
        """Hand the request over as it is, and hear no more of this connection."""
        self.is_deaf = True
        self._add_request(is_last=True)

    def _add_request(self, *, is_last: bool) -> None:
        environ = self.environ
        body = b"".join(self._body)
        environ["wsgi.input"] = io.BytesIO(body)
        if environ.pop("HTTP_TRANSFER_ENCODING", None) is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
        self._head_size, self.is_in_request = 0, False
        self.requests.append(Request(environ, is_last=is_last))


def limit_of(path: str) -> int:
    """Return how long a body to this path may be."""
    if not path.startswith("/admin/"):
        return BODY_LIMIT
    return UPLOAD_LIMIT if UPLOADS.fullmatch(path) else FORM_LIMIT if FORMS.fullmatch(path) else BODY_LIMIT


def environ_key(name: bytes) -> str:
    """Return a header's name in the environment; empty for one that is dropped: `a_b` would pass for `a-b`."""
    text = name.decode("latin-1").upper()
    key = "" if "_" in text else text.replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH", "") else f"HTTP_{key}"
    if len(ENVIRON_KEYS) < 1_000:  # names come from clients
        ENVIRON_KEYS[name] = key
    return key


ENVIRON_KEYS: dict[bytes, str] = {}
"""Looked up instead of built: eight headers a request, 0.4 µs each."""


def set_target(environ: dict[str, Any], url: bytes) -> None:
    """Set path and query from the request's target."""
    if not url.startswith(b"/"):
        url = absolute_path(url)
    path, _question_mark, query = url.partition(b"?")
    environ["RAW_URI"] = url.decode("latin-1")
    environ["QUERY_STRING"] = query.partition(b"#")[0].decode("latin-1")
    path = path.partition(b"#")[0]
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")


def absolute_path(url: bytes) -> bytes:
    """Return the path and query of a target in absolute form; `*` stays itself."""
    if url == b"*":
        return url
    try:
        parts = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise Unreadable(HTTPStatus.BAD_REQUEST) from None
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


class Answer:
    """The application's `start_response`, and then its answer as bytes."""

    __slots__ = ("_request", "headers", "is_last", "status")

    def __init__(self, request: Request) -> None:
        self._request, self.is_last = request, request.is_last

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = status, headers

    def whole(self, body: bytes) -> bytes:
        """Return the bytes of an answer that is one piece."""
        has_framing = self._has_no_body() or self.is_sized
        head = self._head("" if has_framing else f"Content-Length: {len(body)}\r\n")
        return head if self._is_head_only() else head + body

    def stream(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Return the bytes of an answer of several pieces and unknown length."""
        yield self._head("Transfer-Encoding: chunked\r\n")
        if self._is_head_only():
            return
        for part in parts:
            if part:
                yield b"%x\r\n%b\r\n" % (len(part), part)
        yield b"0\r\n\r\n"

    @property
    def is_sized(self) -> bool:
        return self._has("content-length")

    def _has_no_body(self) -> bool:
        return self.status.startswith(("204", "304"))

    def _is_head_only(self) -> bool:
        """A stray byte after such an answer would become the head of the next one."""
        return self._request.environ["REQUEST_METHOD"] == "HEAD" or self._has_no_body()

    def _has(self, wanted: str) -> bool:
        return any(name.lower() == wanted for name, _value in self.headers)

    def _head(self, framing: str) -> bytes:
        connection = "close" if self.is_last else "keep-alive"
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        first = f"HTTP/1.1 {self.status}\r\nDate: {http_date()}\r\nConnection: {connection}\r\n"
        return f"{first}{framing}{fields}\r\n".encode("latin-1")


_date: tuple[int, str] = (0, "")


def http_date() -> str:
    """Return the Date header's value, made once a second."""
    global _date  # replaced whole: threads see the old or the new pair
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
