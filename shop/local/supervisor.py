"""Runs the parts of the shop: starts them in order, restarts what dies, stops them in order, leaves nothing behind."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from shop.local import logs, processes
from shop.local.errors import CannotStart
from shop.local.processes import Child

FIRST_PAUSE, LONGEST_PAUSE, SETTLED_SECONDS = 0.5, 5.0, 30.0
TICK_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody wants the shop to stop; raised in the main thread, wherever it is."""


class Program(Protocol):
    """What can be supervised."""

    @property
    def hard_stop(self) -> signal.Signals: ...

    def start(self) -> Child: ...
    def stop(self, child: Child, seconds: float) -> None: ...


@dataclass
class Part:
    """A supervised program. `child` is None while a restart is being waited for."""

    name: str
    program: Program
    grace_seconds: float
    child: Child | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    restart_at: float = 0.0

    def start(self) -> Child:
        with _signals_blocked():  # a child must not be started and forgotten
            self.child = child = self.program.start()
        self.started_at = time.monotonic()
        logs.forward(self.name, child)
        return child

    def tend(self) -> None:
        """Reap the child if it has died; start the next one when the pause, longer in a crash loop, is over."""
        now = time.monotonic()
        if self.child is not None and processes.has_ended(self.child):
            if now - self.started_at >= SETTLED_SECONDS:
                self.pause = FIRST_PAUSE
            cause = _cause(processes.reap(self.child))
            logs.write("up", f"{self.name} ended ({cause}); it starts again in {self.pause:.1f} s")
            self.child, self.restart_at = None, now + self.pause
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
        if self.child is None and now >= self.restart_at:
            try:
                self.start()
            except (CannotStart, OSError, RuntimeError) as error:  # no memory, no process left: the others go on
                logs.write("up", f"{self.name} cannot start ({error}); tried again in {self.pause:.1f} s")
                self.kill()  # one that runs but is not listened to would stop at a full pipe
                self.restart_at = now + self.pause

    def stop(self, seconds: float) -> None:
        if self.child is not None:
            self.program.stop(self.child, seconds)
            self.child = None

    def kill(self) -> None:
        if self.child is not None and not processes.has_ended(self.child):
            os.kill(self.child.pid, self.program.hard_stop)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    known = {number.value: number.name for number in signal.Signals}  # the real-time ones have no names
    return f"killed by {known.get(-status, -status)}"


class Supervisor:
    """The parts, in the order they were started; they are stopped in the reverse order."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.is_stopping = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Turn signals into StopRequested, and stop every part at the end, whatever the end was."""
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or before[number] != signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._on_signal)
        try:
            yield
        except StopRequested:
            pass
        finally:
            self.is_stopping = True
            for part in reversed(self.parts):
                logs.write("up", f"stopping {part.name}")
                part.stop(part.grace_seconds)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_stopping:  # the second signal: no more patience
            for part in self.parts:
                part.kill()
            return
        self.is_stopping = True
        raise StopRequested

    def start(self, name: str, program: Program, *, grace_seconds: float) -> Child:
        part = Part(name, program, grace_seconds)
        self.parts.append(part)
        return part.start()

    def tend(self) -> None:
        """Notice who died and start whose time has come."""
        for part in self.parts:
            part.tend()

    def tend_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Tend the parts until the condition holds; tell whether it did in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.tend()
            time.sleep(TICK_SECONDS)
        return True

    def tend_for_ever(self, look: Callable[[], None]) -> None:
        """Tend the parts, and look after what a living process does not show, until StopRequested."""
        while True:
            self.tend()
            look()
            time.sleep(TICK_SECONDS)
