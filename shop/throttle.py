"""Limits per name, atomic in Redis: of any number of callers at once, exactly as many pass as there are tokens."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shop import connections, db
from shop.errors import Busy, DependencyUnavailable, TooManyRequests


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `burst` at once, then one each `seconds_per_token`."""

    name: str
    burst: int
    seconds_per_token: float


LOGINS = Limit("login", burst=10, seconds_per_token=6)  # failed tries per user name; FAULTS.md B79


@cache
def _script() -> Any:
    return connections.flags().register_script(Path(__file__).with_name("throttle.lua").read_text())


def _spend(limit: Limit, subject: str, tokens: int) -> int:
    """Take a token (1) or give it back (-1); return the milliseconds to wait, 0 when it was free or Redis is away."""
    arguments = [round(limit.seconds_per_token * 1000), limit.burst, tokens]
    try:
        with connections.breaker.guard():
            return int(_script()(keys=[f"limit:{limit.name}:{subject}"], args=arguments))
    except DependencyUnavailable:
        return 0  # without Redis nobody is limited: a shop that cannot count must not lock its customers out


@contextmanager
def failures_of(limit: Limit, subject: str) -> Iterator[None]:
    """
    Let an attempt run unless `subject` has failed too often lately; only failures count.

    The token is taken before the attempt and given back after a success, so parallel guesses cannot slip through.
    Raises: TooManyRequests.
    """
    wait_ms = _spend(limit, subject, 1)
    if wait_ms > 0:
        raise TooManyRequests(retry_after=math.ceil(wait_ms / 1000))
    try:
        yield
    except (*db.TROUBLE, Busy):  # a database that is away is not a wrong guess
        _spend(limit, subject, -1)
        raise
    _spend(limit, subject, -1)
