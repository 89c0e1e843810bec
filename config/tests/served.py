"""A small application for the tests of the web's worker."""

import time
from collections.abc import Callable, Iterable
from typing import Any

BIG = 8_000_000


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, said = environ["PATH_INFO"], environ["wsgi.input"].read()
    if path == "/fail":
        raise RuntimeError("the application fails")
    if path == "/slow":
        time.sleep(0.5)  # what the tests of a stop need: a request that is being answered when it comes
    if path == "/parts":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one", b"", b"two"])
    body = b"x" * BIG if path == "/big" else f"{path} {environ['QUERY_STRING']} {len(said)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
