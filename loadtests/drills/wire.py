"""
The customers' HTTP client: asyncio, kept-alive connections, this machine only.

A kept connection may have been closed by the time a request goes out on it, which is no fault of the shop: a GET or a
keyed POST is then sent once more on a new connection, as browsers do; an unkeyed POST always gets a new connection. One
that breaks later than a moment after the request has broken in the middle of it: that is an answer lost.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.client import loopback


class NoAnswer(Exception):
    """There was no answer; `reason` is `timeout`, `reset` or `refused`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


MOMENT_SECONDS = 0.03


class _Stale(Exception):
    """A kept connection had been closed before the request reached anybody."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object, or an empty one."""
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """A pool of connections to one address. Raises client.NotThisMachine for an address elsewhere."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.host, self.port = loopback(url)
        self.timeout_seconds = timeout_seconds
        self.sent_again = 0
        self._idle: list[Stream] = []

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Send one request. Raises NoAnswer."""
        may_repeat = method == "GET" or "Idempotency-Key" in headers
        try:
            async with asyncio.timeout(self.timeout_seconds):
                if may_repeat and self._idle:
                    try:
                        return await self._exchange(self._idle.pop(), method, path, headers, body, is_kept=True)
                    except _Stale:
                        self.sent_again += 1
                        self._forget()
                return await self._exchange(await self._connect(), method, path, headers, body, is_kept=False)
        except TimeoutError as error:
            raise NoAnswer("timeout") from error
        except ConnectionRefusedError as error:
            raise NoAnswer("refused") from error
        except (OSError, ValueError, EOFError) as error:
            raise NoAnswer("reset") from error

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Close what is idle: if one kept connection was closed, the others probably were too."""
        idle, self._idle = self._idle, []
        for _reader, writer in idle:
            writer.transport.abort()

    async def _connect(self) -> Stream:
        return await asyncio.open_connection(self.host, self.port)

    async def _exchange(
        self, stream: Stream, method: str, path: str, headers: Mapping[str, str], body: bytes, *, is_kept: bool
    ) -> Reply:
        reader, writer = stream
        head = {"Host": f"{self.host}:{self.port}", "Content-Length": str(len(body))} | dict(headers)
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        is_reusable = False
        began = time.monotonic()
        try:
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
            first = await reader.readline()
            if is_kept and not first and time.monotonic() - began < MOMENT_SECONDS:
                raise _Stale
            reply = await _read(reader, first)
            is_reusable = reply.headers.get("connection", "").lower() != "close"
            return reply
        except OSError as error:
            if is_kept and time.monotonic() - began < MOMENT_SECONDS:
                raise _Stale from error
            raise
        finally:
            if is_reusable:
                self._idle.append(stream)
            else:
                writer.transport.abort()


async def _read(reader: asyncio.StreamReader, first: bytes) -> Reply:
    """Read an answer whose status line is there. Raises ValueError, EOFError."""
    status = int(first.split()[1]) if first.startswith(b"HTTP/1.") else 0
    if not status:
        raise ValueError(first[:80])
    headers: dict[str, str] = {}
    while line := (await reader.readuntil(b"\r\n")).strip():
        name, _colon, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Reply(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
