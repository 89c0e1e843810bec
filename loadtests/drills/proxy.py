"""A TCP proxy that can be a bad network: slow, dripping, silent, cut, or losing exactly the answer."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

CHUNK = 65_536
LINGER_NOT = struct.pack("ii", 1, 0)  # closing then sends RST, as a network that was cut does


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """
    How the network is. `delay_ms` each way; `is_silent` swallows nothing and delivers nothing until it is over (a black
    hole); `loses_answers` delivers the request, then resets instead of answering; `is_cut` resets what is open and
    refuses what is new.
    """

    delay_ms: float = 0.0
    is_silent: bool = False
    loses_answers: bool = False
    is_cut: bool = False


FINE = Mode()


@dataclass(eq=False, slots=True)
class Link:
    """One connection through the proxy; `port` is the proxy's own towards the server, by which the server knows it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    loses_answer: bool = False

    @property
    def port(self) -> int:
        return int(self.server.get_extra_info("sockname")[1])

    def reset(self) -> None:
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            writer.transport.abort()


class Proxy:
    """Forwards `port` to `target` on this machine. `on_request` sees each chunk a client sends before it goes on."""

    def __init__(self, *, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.mode = FINE
        self.links: set[Link] = set()
        self.answers_lost = 0
        self.on_request: Callable[[Link, bytes], None] | None = None
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse new connections and reset the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        for link in list(self.links):
            link.reset()

    async def become(self, mode: Mode) -> None:
        """Change the network; what a silent one held back is delivered when it speaks again."""
        was_cut, self.mode = self.mode.is_cut, mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode.is_cut:
            await self.close()
        elif was_cut:
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, server)
        self.links.add(link)
        try:
            await asyncio.gather(self._requests(link, reader), self._answers(link, answers))
        finally:
            self.links.discard(link)
            for side in (writer, server):
                side.transport.abort()

    async def _requests(self, link: Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.on_request is not None:
                    self.on_request(link, chunk)
                await self._deliver(link.server, chunk)
        link.server.close()

    async def _answers(self, link: Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.mode.loses_answers or link.loses_answer:
                    self.answers_lost += 1
                    link.reset()
                    return
                await self._deliver(link.client, chunk)
        link.client.close()

    async def _deliver(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while self.mode.is_silent:
            await self._changed.wait()
        if self.mode.delay_ms:
            await asyncio.sleep(self.mode.delay_ms / 1000)
        writer.write(chunk)
        await writer.drain()
