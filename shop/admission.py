"""
Who is let in while the shop has more to do than it can: it refuses early, and what is worth least first.

DESIGN.md "Overload" gives the order: browsing, then new coupon claims, then new orders. What was accepted is settled by
other processes and is never refused anything here.

Note [Standing queue]
~~~~~~~~~~~~~~~~~~~~~
A queue is no harm by itself: after a hiccup of the machine it is long for a moment, and refusing then would only hurt.
A queue that never becomes short is harm: it makes everybody wait and nobody faster (CoDel, RFC 8289). So a process
counts as overloaded when the shortest wait for a thread was above STANDING_SECONDS in STANDING_LOOKS looks in a row.
From then on a request is let in only if it would wait no longer than its kind may. That keeps a short queue standing:
the threads never run out of work, so the surplus is refused and no more than the surplus. Requests of more worth may
wait longer, so they find room where others are refused. Overload is over when the queue was short, CALM_SECONDS or
less, at some moment of each of CALM_LOOKS looks in a row: while there is a surplus the refused leave no such moment.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any

import structlog
from django.conf import settings
from django.urls import Resolver404, resolve

from shop import db, metrics, problems
from shop.errors import Busy, Overloaded
from shop.middleware import request_id_of

log = structlog.get_logger("shop.admission")

STANDING_SECONDS, STANDING_LOOKS = 0.15, 4  # after two above 0.1 s a busy half second refused 834 of 540,000 requests
CALM_SECONDS, CALM_LOOKS = 0.02, 4
YOUNG_LOOKS = 20  # a process that has just started is slow by itself and refuses nobody for five seconds
BURST_SECONDS = 0.5  # so long may a burst have to wait while the process is not overloaded
SURGE, SURGE_SECONDS = 1.25, 0.25  # once more arrives than threads can answer, half a second of waiting becomes 0.7
BACKLOG_SECONDS = 20.0  # FAULTS.md 7: as old may the oldest accepted order get before no further one is accepted
RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 30
SMOOTHING = 0.02  # of the time per request: about the last fifty count

Reply = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers, body."""


class Worth(IntEnum):
    """What is refused first has the least."""

    BROWSE = 0
    CLAIM = 1
    ORDER = 2
    OWN = 3
    ENTRY = 4
    VITAL = 5


WAIT_SECONDS = {Worth.BROWSE: 0.05, Worth.CLAIM: 0.1, Worth.ORDER: 0.16, Worth.OWN: 0.28, Worth.ENTRY: 2.0}
"""How long a request may wait for a thread while its process is overloaded; who signs up or in, also while it is not:
hashing a password is slow on purpose, and thirty people at the door are no overload."""

VITAL_PATHS = ("/livez", "/readyz")
PUBLIC = re.compile(r"/products(/.*)?|/coupons(/\d+)?", re.ASCII)


def worth_of(environ: Mapping[str, Any]) -> Worth:
    """Return a request's worth: reads anybody may make, claims, what else changes something, own things, signing in."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path in VITAL_PATHS:
        return Worth.VITAL
    if PUBLIC.fullmatch(path):
        return Worth.BROWSE
    if path == "/coupons/issue":
        return Worth.CLAIM
    if path.startswith("/auth/"):
        return Worth.ENTRY
    return Worth.ORDER if method == "POST" and not path.startswith("/admin") else Worth.OWN


class Door:
    """
    Decides for one process who is let in. See Note [Standing queue].

    `took` and `answered` are called by the threads that answer, the rest by the one that reads sockets. Numbers written
    by several threads may miss one of them; nothing depends on one.
    """

    def __init__(self, *, threads: int) -> None:
        self.is_overloaded = False
        self._threads = threads
        self._seconds_each = 0.001
        self._shortest = math.inf
        self._looks = self._long_looks = self._calm_looks = 0
        self._arrived, self._surge = 0, 0.0
        self._refused: Counter[Worth] = Counter()

    def took(self, waited: float) -> None:
        """Note how long a request had waited when a thread took it, in seconds."""
        if waited < self._shortest:
            self._shortest = waited

    def answered(self, seconds: float) -> None:
        """Note how long a thread was busy with a request."""
        self._seconds_each += (seconds - self._seconds_each) * SMOOTHING

    def wait_of(self, queued: int) -> float:
        """Return how long a request would wait behind `queued` others, in seconds."""
        return queued * self._seconds_each / self._threads

    def look(self, queued: int, seconds: float) -> None:
        """See whether a queue stands; to be called each quarter of a second, with the time since the last look."""
        self._looks += 1
        self._note_surge(seconds)
        if self._looks <= YOUNG_LOOKS:
            return
        shortest = self._shortest if self._shortest < math.inf or queued else 0.0
        self._shortest = math.inf
        self._long_looks = self._long_looks + 1 if shortest > STANDING_SECONDS else 0
        self._calm_looks = self._calm_looks + 1 if shortest <= CALM_SECONDS else 0
        if not self.is_overloaded and self._long_looks >= STANDING_LOOKS:
            self.is_overloaded = True
            log.warning("overloaded", waiting=queued, shortest_wait_ms=round(min(shortest, 60.0) * 1000))
        elif self.is_overloaded and self._calm_looks >= CALM_LOOKS:
            self.is_overloaded = False
            log.warning("overload_is_over", refused={worth.name.lower(): n for worth, n in self._refused.items()})
            self._refused.clear()

    def _note_surge(self, seconds: float) -> None:
        """Note how much of what the threads can do has arrived: a mean in which the last two looks weigh most."""
        surge = self._arrived * self._seconds_each / self._threads / seconds
        self._surge += (surge - self._surge) / 2
        self._arrived = 0

    def refuses(self, environ: Mapping[str, Any], queued: int) -> bool:
        """Tell whether a request is turned away that would wait behind `queued` others."""
        self._arrived += 1
        wait = self.wait_of(queued)
        usual = 0.0 if self.is_overloaded else SURGE_SECONDS if self._surge > SURGE else BURST_SECONDS
        if self._looks <= YOUNG_LOOKS or wait <= max(usual, WAIT_SECONDS[Worth.BROWSE]):
            return False
        worth = worth_of(environ)
        if worth is Worth.VITAL or wait <= max(usual, WAIT_SECONDS[worth]):
            return False
        self._refused[worth] += 1
        return True

    def needs_no_thread(self) -> None:
        """Do not count who has just been let in: the answer is ready (shop.ready), so it is no work for the threads."""
        self._arrived -= 1


door = Door(threads=settings.WEB_THREADS)
"""This process's."""


# --- backlogs -------------------------------------------------------------------------------------------------------

Backlog = Callable[[], float]
_backlogs: list[tuple[Worth, Backlog]] = []
_closed: dict[Worth, float] = {}  # replaced whole: threads see the old or the new one


def backlog(worth: Worth) -> Callable[[Backlog], Backlog]:
    """Have requests of this worth refused while the function's answer, the age of the oldest item, is too old."""

    def register(function: Backlog) -> Backlog:
        _backlogs.append((worth, function))
        return function

    return register


def _age(function: Backlog) -> float:
    """A backlog that cannot be seen closes nothing: whoever adds to it will find the same trouble."""
    try:
        return function()
    except (*db.TROUBLE, Busy):
        return 0.0


def look_at_backlogs() -> None:
    """Ask for the age of each backlog and close or open the door to those who would add to it."""
    global _closed
    if not settings.ADMISSION:
        return
    ages = {worth: _age(function) for worth, function in _backlogs}
    closed = {worth: age for worth, age in ages.items() if age > BACKLOG_SECONDS}
    if closed.keys() != _closed.keys():
        log.warning("backlog", refused=[worth.name.lower() for worth in closed], seconds=[*closed.values()])
    _closed = closed


# --- refusals -------------------------------------------------------------------------------------------------------


def refusal_by_backlog(environ: Mapping[str, Any]) -> Reply | None:
    """Return the answer to who would add to a backlog that is too old, None to everybody else."""
    if not _closed or environ["REQUEST_METHOD"] != "POST":
        return None
    age = _closed.get(worth_of(environ)) if environ["PATH_INFO"] in ADDING else None
    return None if age is None else refusal(environ, retry_seconds=age)


ADDING = ("/orders", "/coupons/issue")
"""The requests whose acceptance makes work for later."""


def refusal(environ: Mapping[str, Any], *, retry_seconds: float = RETRY_SECONDS) -> Reply:
    """Return the whole answer to a request that is turned away; `retry_seconds` is varied by a third."""
    language = problems.language_in(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
    request_id = request_id_of(environ)
    body = problems.body_of(Overloaded(), status=503, request_id=request_id, language=language)
    wait = math.ceil(retry_seconds * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
    metrics.observe(method=environ["REQUEST_METHOD"], route=_route_of(environ["PATH_INFO"]), status=503, seconds=0.0)
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Content-Language", language),
        ("Cache-Control", "private, no-store"),
        ("Vary", "Accept-Language"),
        ("Retry-After", str(min(wait, LONGEST_RETRY_SECONDS))),
        ("X-Request-Id", request_id),
    ]
    return "503 Service Unavailable", headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body


def _route_of(path: str) -> str:
    return _known_route(re.sub(r"\d+", "1", path[:200], flags=re.ASCII))


@lru_cache(maxsize=256)
def _known_route(path: str) -> str:
    try:
        return resolve(path).route
    except Resolver404:
        return "unknown"
