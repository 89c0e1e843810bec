"""What PostgreSQL says while a run is going on: who waits for a lock, and how many deadlocks there were."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

LOOK_SECONDS = 0.02
GONE_SECONDS = 5.0

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'locklab' AND wait_event_type = 'Lock'
"""
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'locklab'"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@dataclass(slots=True)
class Watch:
    """`waiting` is how many sessions waited for a lock, at each look."""

    looks: int = 0
    waiting: int = 0
    deadlocks: int = 0
    seconds: float = 0.0

    @property
    def waited_seconds(self) -> float:
        """All sessions' time in the queue for a lock, from the samples."""
        return self.seconds * self.waiting / self.looks if self.looks else 0.0


@contextmanager
def watching(connection: psycopg.Connection) -> Iterator[Watch]:
    """Look every few milliseconds until the block ends; the connection is the watcher's own meanwhile."""
    watch, is_over = Watch(), threading.Event()
    before = _number(connection, DEADLOCKS)
    began = time.monotonic()
    thread = threading.Thread(target=_look, args=[connection, watch, is_over], daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        is_over.set()
        thread.join()
    watch.seconds = time.monotonic() - began
    _wait_until_alone(connection)  # a session reports its deadlocks at the latest when it ends
    watch.deadlocks = _number(connection, DEADLOCKS) - before


def _look(connection: psycopg.Connection, watch: Watch, is_over: threading.Event) -> None:
    while not is_over.wait(LOOK_SECONDS):
        watch.waiting += _number(connection, WAITING)
        watch.looks += 1


def _number(connection: psycopg.Connection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _wait_until_alone(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while _number(connection, OTHERS) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
