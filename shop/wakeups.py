"""
Waking a stage: a flag that coalesces wake-ups, and a message that says nothing but "look".

`wake` is for requests: it sets a bit and returns; a daemon thread publishes, so a frozen broker costs no request
anything. `publish` is for workers: it publishes at once and gives up after 0.3 s. Neither raises: the sweep repeats
what is lost.

Note [The flag of a stage]
~~~~~~~~~~~~~~~~~~~~~~~~~~
    absent   whoever wakes calls the stage: sets the flag and publishes
    called   a message is on its way and will see what is committed by now, so nobody publishes another
    resting  a drain has begun, which may not see what is committed from now on; requests wait until it expires

Without the rest every web process would wake the stage ten times a second for an order or two, and a wake-up costs as
much as settling fifty orders of a full batch (docs/performance.md, "Settling").
"""

import os
import threading
import time
from collections.abc import Sequence

import redis
import structlog
from celery import current_app

from shop import connections

log = structlog.get_logger("shop.wakeups")

FLAG_MS = 2_000  # a flag left by a lost message delays its stage no longer than this
# From one drain to the next that requests cause; an order waits this much longer at most. With 180 ms the coupon rush
# cost the worker half as much again (151 and 156 µs a request at 1,200/s, 96 and 105 with 300 ms, in turns).
REST_MS = 300
CALLED, RESTING = b"called", b"resting"
PAUSE_AFTER_FAILURE_SECONDS = 1.0
COALESCE_SECONDS = 0.1
"""After a wake-up the thread rests: in a rush it would look for every order and take the interpreter from requests
each time. The first wake-up goes out at once, the next ones at most this late, or when the stage's rest is over."""


def _flag(name: str) -> str:
    return f"wake:{name}"


def clear_flag(name: str) -> None:
    """Let the next wake-up of `name` publish again, after a rest. Only the stage's drainer clears, before it claims."""
    try:
        connections.flags().set(_flag(name), RESTING, px=REST_MS)
    except redis.RedisError:
        log.warning("flag_not_cleared", stage=name)  # it expires by itself


def is_flag_set(name: str) -> bool:
    """Say whether `name` was called since its flag was cleared; no when Redis does not answer."""
    try:
        return bool(connections.flags().get(_flag(name)) == CALLED)
    except redis.RedisError:
        return False


def _call(name: str, *, lets_rest: bool) -> bool:
    """
    Set the flag, then publish; return whether the stage is called now. False: it is resting, and was let rest.

    Raises redis and kombu errors.
    """
    flags = connections.flags()
    found = flags.set(_flag(name), CALLED, nx=True, get=True, px=FLAG_MS)
    if found == CALLED:
        return True
    if found == RESTING:
        if lets_rest:
            return False
        flags.set(_flag(name), CALLED, px=FLAG_MS)
    current_app.send_task(name, ignore_result=True, retry=False)
    return True


def publish(*names: str) -> bool:
    """Wake the stages `names` now, resting or not; return whether all were published."""
    return _publish(names, lets_rest=False) == []


def _publish(names: Sequence[str], *, lets_rest: bool) -> list[str] | None:
    """Return the stages that rest and are yet to be called, or None when nothing can be published."""
    try:
        return [name for name in names if not _call(name, lets_rest=lets_rest)]
    except Exception as error:  # noqa: BLE001 - kombu lets errors of every layer through; a wake-up may be lost
        log.warning("wakeup_not_published", stages=names, error=repr(error))
        return None


class _Publisher:
    """The one publishing thread of a process, started after fork by the first wake-up."""

    def __init__(self) -> None:
        self._due: set[str] = set()
        self._lock = threading.Lock()
        self._is_due = threading.Event()
        self._pid: int | None = None

    def wake(self, name: str) -> None:
        with self._lock:
            self._due.add(name)
            if self._pid != os.getpid():  # first use in this process: a thread does not survive a fork
                self._pid = os.getpid()
                self._is_due = threading.Event()
                threading.Thread(target=self._run, name="wakeups", daemon=True).start()
        self._is_due.set()

    def _run(self) -> None:
        while True:
            self._is_due.wait()
            self._is_due.clear()
            with self._lock:
                names, self._due = sorted(self._due), set()
            resting = _publish(names, lets_rest=True)
            time.sleep(PAUSE_AFTER_FAILURE_SECONDS if resting is None else COALESCE_SECONDS)
            if again := names if resting is None else resting:
                with self._lock:
                    self._due.update(again)
                self._is_due.set()


_publisher = _Publisher()


def wake(name: str) -> None:
    """Wake a stage soon. Never blocks, never raises; for `db.run_after_commit`."""
    _publisher.wake(name)
