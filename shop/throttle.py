"""
Limits per name or user: of any number of callers at once, exactly as many pass as there are tokens.

Note [Dealt tokens]
~~~~~~~~~~~~~~~~~~~
A limit per user stands in the way of every order, so usual customers must not pay a round trip for it. A tenth of a
limit's tokens is dealt to the web processes in advance, each keeps its part in memory; only who has used that up asks
Redis, where the other nine tenths are. Together they are the limit: never more pass, and fewer only by what other
processes still hold (5 % of the limit with two processes). What a customer sends in headers plays no part: the name is
the token's user.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from shop import connections, db
from shop.errors import Busy, DependencyUnavailable, TooManyRequests

DEALT_SHARE = 0.1  # see Note [Dealt tokens]
KEPT_BUCKETS = 50_000  # of users that one process keeps before it drops the full ones


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `burst` at once, then one each `seconds_per_token`."""

    name: str
    burst: int
    seconds_per_token: float

    @property
    def policy(self) -> str:
        """The limit as the `RateLimit-Policy` header says it (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.burst};w={self.burst * self.seconds_per_token:.0f}'

    def refusal(self, wait_seconds: float) -> TooManyRequests:
        return TooManyRequests(retry_after=math.ceil(wait_seconds), policy=self.policy)

    def part(self, burst: int) -> "Limit":
        """Return `burst` of this limit's tokens; they come back within the same time as all of them."""
        return Limit(self.name, burst, self.seconds_per_token * self.burst / burst)


@dataclass(frozen=True, slots=True)
class DealtLimit:
    """A limit as Note [Dealt tokens] splits it; `dealt` is what each process has, if it is a whole token at least."""

    whole: Limit
    dealt: Limit | None
    shared: Limit


def deal(limit: Limit, *, processes: int) -> DealtLimit:
    """Split a limit between the processes and Redis."""
    each = int(limit.burst * DEALT_SHARE / processes)
    return DealtLimit(limit, limit.part(each) if each else None, limit.part(limit.burst - each * processes))


def _limit(name: str) -> Limit | None:
    quota = settings.LIMITS[name]
    return None if quota is None else Limit(name, quota.tokens, quota.seconds / quota.tokens)


def _dealt_limit(name: str) -> DealtLimit | None:
    limit = _limit(name)
    return None if limit is None else deal(limit, processes=settings.WEB_PROCESSES)


LOGINS, ADMIN_LOGINS = _limit("logins"), _limit("admin-logins")  # failed tries per user name; FAULTS.md B79
ORDERS, CLAIMS = _dealt_limit("orders"), _dealt_limit("claims")  # requests per user


# --- in Redis -------------------------------------------------------------------------------------------------------


@cache
def _script() -> Any:
    return connections.flags().register_script(Path(__file__).with_name("throttle.lua").read_text())


def _spend(limit: Limit, subject: str | int, tokens: int) -> float:
    """
    Take a token (1) or give it back (-1); return the seconds to wait, 0 when the token was free.

    Raises: DependencyUnavailable.
    """
    arguments = [round(limit.seconds_per_token * 1_000_000), limit.burst, tokens]
    with connections.breaker.guard():
        return int(_script()(keys=[f"limit:{limit.name}:{subject}"], args=arguments)) / 1_000_000


# --- in this process ------------------------------------------------------------------------------------------------


class Buckets:
    """The token buckets of one process; by the same rule as throttle.lua."""

    def __init__(self) -> None:
        self._full_at: dict[tuple[str, str | int], float] = {}
        self._lock = threading.Lock()
        self._most = KEPT_BUCKETS

    def spend(self, limit: Limit, subject: str | int) -> float:
        """Take a token; return the seconds to wait, 0 when it was free."""
        key, now = (limit.name, subject), time.monotonic()
        with self._lock:  # reading and writing are one step, or two requests at once would take the same token
            new = max(self._full_at.get(key, 0.0), now) + limit.seconds_per_token
            wait = new - now - limit.seconds_per_token * limit.burst
            if wait > 1e-9:
                return wait
            self._full_at[key] = new
            if len(self._full_at) > self._most:
                self._drop_full(now)
        return 0.0

    def _drop_full(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._most = max(KEPT_BUCKETS, 2 * len(self._full_at))


_dealt, _alone = Buckets(), Buckets()


def take(limit: DealtLimit | None, subject: int) -> None:
    """
    Take one of a user's tokens: one dealt to this process, else one in Redis (see Note [Dealt tokens]).

    While Redis is away each process counts alone. Raises: TooManyRequests.
    """
    if limit is None or (limit.dealt is not None and not _dealt.spend(limit.dealt, subject)):
        return
    try:
        wait = _spend(limit.shared, subject, 1)
    except DependencyUnavailable:
        wait = _alone.spend(limit.shared, subject)
    if wait:
        raise limit.whole.refusal(wait)


# --- failed tries ---------------------------------------------------------------------------------------------------


def _spend_or_pass(limit: Limit, subject: str, tokens: int) -> float:
    """Without Redis nobody is limited: a shop that cannot count must not lock its operators and customers out."""
    try:
        return _spend(limit, subject, tokens)
    except DependencyUnavailable:
        return 0.0


@contextmanager
def failures_of(limit: Limit | None, subject: str) -> Iterator[None]:
    """
    Let an attempt run unless `subject` has failed too often lately; only failures count.

    The token is taken before the attempt and given back after a success, so parallel guesses cannot slip through.
    Raises: TooManyRequests.
    """
    if limit is None:
        yield
        return
    if wait := _spend_or_pass(limit, subject, 1):
        raise limit.refusal(wait)
    try:
        yield
    except (*db.TROUBLE, Busy):  # a database that is away is not a wrong guess
        _spend_or_pass(limit, subject, -1)
        raise
    _spend_or_pass(limit, subject, -1)
