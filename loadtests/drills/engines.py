"""
PostgreSQL and Redis of the drill's own, each behind a proxy: nobody but the drill starts them again.

The shop is pointed at the proxies by DATABASE_URL and REDIS_URL, as at any servers of somebody else. Start engines from
the main thread only: a child of `processes.spawn` ends with the thread that started it.
"""

import os
import secrets
import signal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from loadtests.drills.background import Background
from loadtests.drills.proxy import Mode, Proxy
from shop.local import accounts, ports, postgres, processes, valkey

STOP_SECONDS = 10.0


class Engine:
    """One server with its proxy; `kill`, `stop`, `freeze` and `thaw` do to it what fate does."""

    def __init__(self, program: postgres.Postgres | valkey.Valkey, url: str, log: Path, background: Background) -> None:
        self.program, self.url, self.log, self._background = program, url, log, background
        self._comm = "postgres" if isinstance(program, postgres.Postgres) else "valkey-server"
        self.proxy = Proxy(port=ports.free_port(), target=program.port)
        self._child: processes.Child | None = None
        background.run(self.proxy.open())

    @property
    def proxied_url(self) -> str:
        """The address that the shop gets."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.proxy.port}"))

    @property
    def pids(self) -> list[int]:
        return processes.working_in(self.program.data, self._comm)

    @property
    def main_pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self._comm} has not been started")
        return self._child.pid

    def start(self) -> None:
        """Start the server and wait until it answers. Raises CannotStart."""
        self._child = self.program.start()
        self.program.wait_ready(self._child)

    def send(self, number: signal.Signals) -> None:
        """Send every process of the server a signal."""
        for pid in self.pids:
            os.kill(pid, number)

    def stop(self, number: signal.Signals) -> None:
        """End the server and wait for its end."""
        if self._child is not None:
            processes.stop(self._child, (number, STOP_SECONDS))
            self._child = None

    def network(self, mode: Mode) -> None:
        """Make the network between the shop and this server good or bad."""
        self._background.run(self.proxy.become(mode))

    def close(self) -> None:
        self.send(signal.SIGCONT)  # a frozen one could not stop
        self.stop(signal.SIGINT if self._comm == "postgres" else signal.SIGTERM)
        self._background.run(self.proxy.close())
        if self.program.output is not None:
            os.close(self.program.output)


def own_postgres(data: Path, log: Path, background: Background, *, max_connections: int) -> Engine:
    program = postgres.Postgres(
        data=data,
        port=ports.free_port(),
        password=secrets.token_urlsafe(24),
        account=accounts.engine_account(data, postgres.bin_directory()),
        max_connections=max_connections,
        output=_opened(log),
    )
    program.prepare()
    return Engine(program, program.url(), log, background)


def own_valkey(data: Path, log: Path, background: Background) -> Engine:
    program = valkey.Valkey(
        data=data,
        port=ports.free_port(),
        password=secrets.token_urlsafe(24),
        account=accounts.engine_account(data, valkey.server_program()),
        output=_opened(log),
    )
    program.prepare()
    return Engine(program, program.url, log, background)


def _opened(log: Path) -> int:
    """Open a log for as long as the engine lives: the server may be started several times."""
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
