"""
Redis clients that never make a request wait, and the breaker that skips Redis while it is away.

Measured (FAULTS.md 4.2): defaults wait 3.9-5.7 s on a dead or frozen server, these settings 0.00-0.20 s.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from shop.errors import DependencyUnavailable

BREAKER_FAILURES = 3
BREAKER_PAUSE_SECONDS = 1.0


class ThreadClient(redis.Redis):
    """
    A client that keeps one connection for each thread: 12 µs of CPU a command where a pool's bookkeeping makes it 31.

    Pipelines still take theirs from the pool.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = threading.local()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its parsed answer. Raises redis.RedisError; it may have been executed then."""
        connection = self._connection()
        try:
            connection.send_command(*args)
            return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]  # theirs
        except redis.ResponseError:
            raise  # an answer like any other: the connection is in step
        except BaseException:
            connection.disconnect()  # a late answer would be taken for the next command's
            raise

    def _connection(self) -> Any:
        kept = getattr(self._kept, "connection", None)
        if kept is None or kept.pid != os.getpid():  # a fork must not talk on its parent's socket
            kept = self._kept.connection = self.connection_pool.get_connection()
        elif kept.is_connected and _has_news(kept):
            kept.disconnect()
        return kept


def _has_news(connection: Any) -> bool:
    """Say whether an idle connection's server has hung up: nothing else was due."""
    try:
        return bool(connection.can_read(timeout=0))
    except (redis.ConnectionError, OSError):
        return True


def _client(url: str, timeout_seconds: float) -> redis.Redis:
    return ThreadClient.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
        decode_responses=False,
    )


@cache
def gate() -> redis.Redis:
    """Return the client of the coupon gate's database."""
    return _client(settings.GATE_URL, settings.REDIS_TIMEOUT_SECONDS)


@cache
def cached() -> redis.Redis:
    """Return the client of the cache's database; everything in it may vanish."""
    return _client(settings.CACHE_URL, settings.REDIS_TIMEOUT_SECONDS)


@cache
def flags() -> redis.Redis:
    """Return the client of the broker's database, for wake-up flags and heartbeats."""
    return _client(settings.BROKER_URL, settings.REDIS_TIMEOUT_SECONDS)


class Breaker:
    """
    Skips Redis for a second after three failures in a row, then lets one caller probe.

    Without it every request would pay the timeout while Redis is frozen (FAULTS.md F35).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0

    def _may_try(self) -> bool:
        with self._lock:
            if self._failures < BREAKER_FAILURES:
                return True
            if time.monotonic() < self._closed_until:
                return False
            self._closed_until = time.monotonic() + BREAKER_PAUSE_SECONDS  # this caller probes, others still skip
            return True

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if failed:
                self._closed_until = time.monotonic() + BREAKER_PAUSE_SECONDS

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run calls to Redis. Raises DependencyUnavailable when Redis fails or is being skipped."""
        if not self._may_try():
            raise DependencyUnavailable
        try:
            yield
        except redis.RedisError as error:
            self._note(failed=True)
            raise DependencyUnavailable from error
        self._note(failed=False)


breaker = Breaker()
