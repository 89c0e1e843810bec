"""A small application for the tests of the web's worker."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BIG = 8_000_000
released = threading.Event()  # what requests for /held wait for
if marker := os.environ.get("SLOW_START"):  # a shop takes its time to load
    time.sleep(2.0 if Path(marker).exists() else 0.0)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, said = environ["PATH_INFO"], environ["wsgi.input"].read()
    if path == "/fail":
        raise RuntimeError("the application fails")
    if path == "/pid":
        path = str(os.getpid())
    if path == "/slow":
        time.sleep(0.5)  # what the tests of a stop need: a request that is being answered when it comes
    if path == "/held":
        released.wait(20)
    if path == "/release":
        released.set()
    if path == "/file":  # as a file is served: in parts, of a length that is known
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(BIG))])
        return iter([b"x" * (BIG // 8)] * 8)
    if path == "/parts":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one", b"", b"two"])
    body = b"x" * BIG if path in ("/big", "/ready/big") else f"{path} {environ['QUERY_STRING']} {len(said)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class NarrowDoor:
    """Lets one request wait for a thread, and says what it was told."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.busy: list[float] = []
        self.looks = self.ready = 0

    def took(self, waited: float) -> None:
        self.waited.append(waited)

    def answered(self, seconds: float) -> None:
        self.busy.append(seconds)

    def look(self, queued: int, seconds: float) -> None:
        self.looks += 1

    def refuses(self, environ: dict[str, Any], queued: int) -> bool:
        return queued > 0 and environ["PATH_INFO"] not in ("/vital", "/held", "/release")

    def needs_no_thread(self) -> None:
        self.ready += 1


def turn_away(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("not even a refusal can be made")
    start_response("503 Service Unavailable", [("Content-Length", "2")])
    return [b"no"]


def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/seen":
        return application(environ, start_response)
    body = f"{max(door.waited):.1f} {max(door.busy):.1f} {door.looks > 0} {door.ready}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def find_ready(environ: dict[str, Any]) -> Any:
    return application if environ["PATH_INFO"] in ("/ready", "/ready/big", "/release") else None


door = NarrowDoor()
guarded.door, guarded.turn_away, guarded.find_ready = door, turn_away, find_ready
