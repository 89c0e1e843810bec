"""
How many of a process's threads may be inside the database at once, and none for a moment when it has frozen.

A frozen server (all its processes stopped, its host's disk hanging) keeps its connections open and says nothing: each
thread that asks is gone until its call's time is up. So some threads always stay outside, for what needs no database,
and once a call has waited in vain nobody goes in but one caller a second, to see whether the server is back.
"""

import threading
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from time import monotonic

import psycopg

PATIENCE_SECONDS = 1.0  # as long as web requests wait for a row lock
SILENCE_SECONDS = 0.5  # without any answer to anybody while all places are taken: they will not be free soon
LOOK_SECONDS = 0.1
PAUSE_SECONDS = 1.0  # as Redis' breaker (shop.connections)
UNLIMITED = 1_000_000


class Turnstile:
    """
    Callers come in with their first call and leave when no transaction of theirs is open any more.

    Only callers without a transaction ever wait or are refused here: one that holds row locks must get on. Two callers
    at once may both see the last place free; one too many inside for a moment is accepted.
    """

    def __init__(self, places: int = UNLIMITED) -> None:
        self.places = self.free_for_all = places  # free_for_all is 0 while the server is taken to be frozen
        self.inside: dict[Hashable, float] = {}  # since when
        self.answered_at = 0.0
        self._waiting: deque[threading.Lock] = deque()
        self._look_again_at = 0.0
        self._look = threading.Lock()

    def enter(self, who: Hashable) -> None:
        """Come in, if need be after a wait. Raises psycopg.OperationalError."""
        if len(self.inside) >= self.free_for_all:
            self._wait_for_place()
        self.inside[who] = monotonic()

    def leave(self, who: Hashable) -> None:
        self.inside.pop(who, None)
        if self._waiting:
            with suppress(IndexError):  # two left at once
                self._waiting.popleft().release()

    def note_answer(self) -> None:
        """Somebody was answered: the server works."""
        self.answered_at = monotonic()
        if not self.free_for_all:
            self.free_for_all = self.places

    def note_silence(self, since: float) -> None:
        """A call that began `since` then had no answer. If nobody had one, let nobody in for a while."""
        with self._look:
            if self.answered_at < since:
                self.free_for_all = 0
                self._look_again_at = monotonic() + PAUSE_SECONDS

    def _wait_for_place(self) -> None:
        deadline = monotonic() + PATIENCE_SECONDS
        while len(self.inside) >= self.free_for_all:
            if not self.free_for_all:
                self._look_for_all()
                return
            now = monotonic()
            if now >= deadline or self._is_silent(now):
                raise psycopg.OperationalError("every place in the database is taken")
            self._wait_until_somebody_leaves()

    def _look_for_all(self) -> None:
        """Let this caller in if it is time to see whether the server is back."""
        with self._look:
            now = monotonic()
            if self.free_for_all or now >= self._look_again_at:
                self._look_again_at = now + PAUSE_SECONDS
                return
        raise psycopg.OperationalError("the database does not answer")

    def _is_silent(self, now: float) -> bool:
        """Say whether those inside have waited for a while and none of them was answered."""
        oldest = min(list(self.inside.values()), default=now)
        return max(oldest, self.answered_at) < now - SILENCE_SECONDS

    def _wait_until_somebody_leaves(self) -> None:
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        if len(self.inside) >= self.free_for_all:  # else somebody left before we stood in line, and told nobody
            turn.acquire(timeout=LOOK_SECONDS)
        with suppress(ValueError):
            self._waiting.remove(turn)
