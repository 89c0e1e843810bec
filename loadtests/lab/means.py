"""What a client of the lab works with: one connection to each server."""

from dataclasses import dataclass
from typing import Protocol

import psycopg
import redis

from loadtests.lab.answers import PATIENCE_SECONDS, Answer
from loadtests.lab.market import Order

REDIS_SECONDS = 2 * PATIENCE_SECONDS  # blocking reads wait less


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the lab runs; every Redis key begins with `prefix`. Engines of the lab's own have a `directory`."""

    database_url: str
    redis_url: str
    prefix: str
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    connection: psycopg.Connection
    redis: redis.Redis
    prefix: str

    def close(self) -> None:
        self.connection.close()
        self.redis.close()


class Strategy(Protocol):
    """
    A way to place an order.

    psycopg's LockNotAvailable and DeadlockDetected may leave `place`: the client of the lab counts them.
    """

    def place(self, order: Order) -> Answer: ...


def connect(servers: Servers) -> Means:
    """Open both connections. Row locks are waited for as long as Redis locks."""
    connection = psycopg.connect(
        servers.database_url,
        autocommit=True,
        application_name="locklab",
        options=f"-c lock_timeout={PATIENCE_SECONDS:.0f}s",
    )
    client = redis.Redis.from_url(servers.redis_url, socket_timeout=REDIS_SECONDS)
    client.ping()
    return Means(connection, client, servers.prefix)
