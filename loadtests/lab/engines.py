"""
Where the lab runs: engines of its own that begin and end with it, or the servers set in the environment.

The running shop's engines are never used: its workers would disturb the figures, and the lab its customers. PostgreSQL
syncs to disk as the shop's does; Redis keeps no log, because locks need none and the multi-lock would only get slower.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from django.conf import settings

from config import env
from loadtests import procfs
from loadtests.lab.means import Servers
from shop.local import accounts, ports, postgres, processes, valkey

SPARE_CONNECTIONS = 20
VALKEY = "valkey-server"


@contextmanager
def servers(*, clients: int) -> Iterator[Servers]:
    """
    Yield an empty database and a Redis.

    What `up` left in the data directory is not looked at: only DATABASE_URL and REDIS_URL in the environment count.
    Raises: CannotStart; psycopg's OperationalError for a server that is set and does not answer.
    """
    with ExitStack() as stack:
        database_url, redis_url = str(env.read("DATABASE_URL")), str(env.read("REDIS_URL"))
        are_own = not database_url and not redis_url
        if not (database_url and redis_url):
            directory = stack.enter_context(_directory())
            database_url = database_url or _start_postgres(stack, directory / "postgres", clients=clients)
            redis_url = redis_url or _start_valkey(stack, directory / "valkey")
        scratch_url = stack.enter_context(scratch_database(database_url))
        prefix = f"locklab:{os.getpid()}"
        stack.callback(_forget, redis_url, prefix)
        yield Servers(scratch_url, redis_url, prefix, str(directory) if are_own else "")


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory on the disk where the shop's data lie: in memory a commit would cost nothing."""
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="locklab-", dir=settings.DATA_DIR))
    made.chmod(0o755)  # the engines' account must pass; what is inside is closed
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _start_postgres(stack: ExitStack, data: Path, *, clients: int) -> str:
    engine = postgres.Postgres(
        data=data,
        port=ports.free_port(),
        password=secrets.token_urlsafe(24),
        account=accounts.engine_account(data, postgres.bin_directory()),
        max_connections=max(postgres.MAX_CONNECTIONS, clients + SPARE_CONNECTIONS),
        output=subprocess.DEVNULL,
    )
    engine.prepare()
    child = engine.start()
    stack.callback(processes.stop, child, (postgres.FAST, 5.0))
    engine.wait_ready(child)
    return engine.url()


def _start_valkey(stack: ExitStack, data: Path) -> str:
    engine = valkey.Valkey(
        data=data,
        port=ports.free_port(),
        password=secrets.token_urlsafe(24),
        account=accounts.engine_account(data, valkey.server_program()),
        durable=False,
        output=subprocess.DEVNULL,
    )
    engine.prepare()
    child = engine.start()
    stack.callback(processes.stop, child, (signal.SIGTERM, 2.0))
    engine.wait_ready(child)
    return engine.url


def _forget(redis_url: str, prefix: str) -> None:
    """Delete the lab's keys: the server may be somebody's."""
    with redis.Redis.from_url(redis_url) as client:
        if keys := list(client.scan_iter(f"{prefix}:*")):
            client.delete(*keys)


@contextmanager
def scratch_database(server_url: str) -> Iterator[str]:
    """Yield the address of an empty database on a server; drop it afterwards."""
    name = f"locklab_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def described(connection: psycopg.Connection) -> dict[str, str]:
    """Return what the figures stand on: the server's version and how durable a commit is."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    rows = connection.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(names)])
    return dict(rows.fetchall())


def cpu_seconds(servers: Servers) -> float | None:
    """Return the CPU time the lab's own engines have used so far, ended sessions included; None for others' engines."""
    if not servers.directory:
        return None
    directory = Path(servers.directory)
    pids = [
        *processes.working_in(directory / "postgres", "postgres"),
        *processes.working_in(directory / "valkey", VALKEY),
    ]
    return sum(_cpu_ticks(pid) for pid in pids) / procfs.TICKS


def _cpu_ticks(pid: int) -> int:
    """Return what a process and its ended children have used: PostgreSQL's sessions are children of its first."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
