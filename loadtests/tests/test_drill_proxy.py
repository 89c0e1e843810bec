"""The drills' network: each way it can be bad, seen from both of its ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from loadtests.drills.proxy import FINE, Link, Mode, Proxy
from loadtests.drills.wire import NoAnswer, Wire
from shop.local import ports

Asked = list[bytes]
PATIENCE_SECONDS = 5.0


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Proxy, Asked]]:
    """Yield a proxy in front of a server that answers each line with itself, and what that server was asked."""
    asked: Asked = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                asked.append(line)
                writer.write(line)
        writer.close()

    target = ports.free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", target)
    proxy = Proxy(port=ports.free_port(), target=target)
    await proxy.open()
    try:
        yield proxy, asked
    finally:
        await proxy.close()
        server.close()


async def say(proxy: Proxy, line: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(line)
    return reader, writer


async def answer_to(proxy: Proxy, line: bytes) -> bytes:
    reader, writer = await say(proxy, line)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.readline()
    finally:
        writer.transport.abort()


def run(scene: Callable[[Proxy, Asked], Awaitable[None]]) -> None:
    async def play() -> None:
        async with echoing() as (proxy, asked):
            await scene(proxy, asked)

    asyncio.run(play())


def test_a_fine_network_delivers() -> None:
    async def scene(proxy: Proxy, asked: Asked) -> None:
        assert await answer_to(proxy, b"hello\n") == b"hello\n"
        assert asked == [b"hello\n"]

    run(scene)


def test_a_slow_one_takes_its_time_each_way() -> None:
    async def scene(proxy: Proxy, _asked: Asked) -> None:
        await proxy.become(Mode(delay_ms=60))
        began = time.monotonic()
        assert await answer_to(proxy, b"hello\n") == b"hello\n"
        assert time.monotonic() - began >= 0.12

    run(scene)


def test_a_silent_one_delivers_when_it_speaks_again() -> None:
    async def scene(proxy: Proxy, asked: Asked) -> None:
        await proxy.become(Mode(is_silent=True))
        reader, writer = await say(proxy, b"hello\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await reader.readline()
        assert asked == []
        await proxy.become(FINE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.readline() == b"hello\n"
        writer.transport.abort()

    run(scene)


def test_one_that_loses_answers_has_the_request_done() -> None:
    async def scene(proxy: Proxy, asked: Asked) -> None:
        await proxy.become(Mode(loses_answers=True))
        with pytest.raises(ConnectionResetError):
            await answer_to(proxy, b"pay\n")
        assert asked == [b"pay\n"]
        assert proxy.answers_lost == 1

    run(scene)


def test_a_cut_one_resets_refuses_and_heals() -> None:
    async def scene(proxy: Proxy, _asked: Asked) -> None:
        reader, writer = await say(proxy, b"hello\n")
        assert await reader.readline() == b"hello\n"
        await proxy.become(Mode(is_cut=True))
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        with pytest.raises(ConnectionRefusedError):
            await say(proxy, b"again\n")
        await proxy.become(FINE)
        assert await answer_to(proxy, b"again\n") == b"again\n"
        writer.transport.abort()

    run(scene)


def test_a_hook_sees_requests_and_can_lose_one_answer() -> None:
    async def scene(proxy: Proxy, asked: Asked) -> None:
        def cut_commits(link: Link, chunk: bytes) -> None:
            link.loses_answer = b"COMMIT" in chunk

        proxy.on_request = cut_commits
        assert await answer_to(proxy, b"SELECT\n") == b"SELECT\n"
        with pytest.raises(ConnectionResetError):
            await answer_to(proxy, b"COMMIT\n")
        assert asked == [b"SELECT\n", b"COMMIT\n"]

    run(scene)


def test_the_customers_client_tells_what_went_wrong() -> None:
    async def scene(proxy: Proxy, _asked: Asked) -> None:
        wire = Wire(f"http://127.0.0.1:{proxy.port}", timeout_seconds=0.3)
        for mode, reason in (
            (Mode(is_silent=True), "timeout"),
            (Mode(loses_answers=True), "reset"),
            (Mode(is_cut=True), "refused"),
        ):
            await proxy.become(mode)
            with pytest.raises(NoAnswer, match=reason):
                await wire.ask("GET", "/", headers={})
        wire.close()

    run(scene)
