"""Is the shop able to work: database, Redis, workers, beat."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.db import DatabaseError

from shop import connections, db

ALIVE = b'{"status":"ok"}'  # what /livez says
HEARTBEAT_KEY = "heartbeat:worker"
HEARTBEAT_LIMIT_SECONDS = 30  # FAULTS.md 4.1: a worker silent for longer is deaf
HEARTBEAT_KEPT_MS = HEARTBEAT_LIMIT_SECONDS * 10_000


def beat_heart() -> None:
    """Note that a worker runs tasks that beat has sent: both are alive."""
    connections.flags().set(HEARTBEAT_KEY, 1, px=HEARTBEAT_KEPT_MS)


def last_heartbeat() -> datetime | None:
    """
    Return when a worker last ran a task, by our clock. Raises redis.RedisError.

    Redis counts how old it is: a worker whose clock is ahead must not vouch for its future, one whose clock is behind
    must not be taken for deaf.
    """
    left_ms = connections.flags().pttl(HEARTBEAT_KEY)
    if left_ms < 0:
        return None
    return datetime.now(UTC) - timedelta(milliseconds=HEARTBEAT_KEPT_MS - left_ms)  # noqa: TID251 - an age, looked at now


def _database() -> None:
    db.rows("SELECT 1")


def _redis() -> None:
    connections.gate().ping()


def _workers() -> None:
    seen_at = last_heartbeat()
    if seen_at is None:
        raise TimeoutError("no worker has run a task yet")
    age = (datetime.now(UTC) - seen_at).total_seconds()  # noqa: TID251 - the age at the moment of looking
    if age > HEARTBEAT_LIMIT_SECONDS:
        raise TimeoutError(f"no worker has run a task for {age:.0f} s")


CHECKS: dict[str, Callable[[], None]] = {"database": _database, "redis": _redis, "workers": _workers}


def check_all() -> dict[str, dict[str, Any]]:
    """Return per check whether it passed, how long it took, and why not; each is bounded by its client's time-outs."""
    results: dict[str, dict[str, Any]] = {}
    for name, check in CHECKS.items():
        began = time.perf_counter()
        reason = None
        try:
            check()
        except (DatabaseError, redis.RedisError, TimeoutError) as error:
            reason = (str(error) or repr(error)).splitlines()[0]
        ms = round((time.perf_counter() - began) * 1000, 1)
        results[name] = {"ok": reason is None, "ms": ms} | ({"reason": reason} if reason else {})
    return results
