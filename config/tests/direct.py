"""The contract's client without a server: requests go straight into the WSGI application, in the test's transaction."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any
from unittest import mock
from urllib.parse import unquote_to_bytes

from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from config import wsgi
from config.tests.client import Answer, Client, Contract
from shop import ready


@contextmanager
def connections_kept() -> Iterator[None]:
    """Keep the connection and so the test's transaction open at the end of a request, as Django's own client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        with mock.patch.object(wsgi, "close_old_connections", create=True):
            yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


class Direct(Client):
    """Speaks to the handlers that serve the shop, with their middleware; nothing is simulated but HTTP."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1", Contract())
        ready.forget()  # what another test was told is no answer in this one's transaction

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        started: list[Any] = []
        path_info, _mark, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path_info).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": sys.stderr,
        }
        if body is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, text in headers.items():
            variable = name.upper().replace("-", "_")
            environ[variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = text
        with connections_kept():
            parts: Any = wsgi.application(environ, lambda status, sent, *_: started.append((status, sent)))
            content = b"".join(parts)
            if hasattr(parts, "close"):
                parts.close()
        ((status, sent),) = started
        received = Message()
        for name, text in sent:
            received[name] = text
        return Answer(int(status.split()[0]), received, content)
