"""
Waking a stage: a flag that coalesces wake-ups, and a message that says nothing but "look".

`wake` is for requests: it sets a bit and returns; a daemon thread publishes, so a frozen broker costs no request
anything. `publish` is for workers: it publishes at once and gives up after 0.3 s. Neither raises: the sweep repeats
what is lost.
"""

import os
import threading
import time

import redis
import structlog
from celery import current_app

from shop import connections

log = structlog.get_logger("shop.wakeups")

FLAG_MS = 2_000  # a flag left by a lost message delays its stage no longer than this
PAUSE_AFTER_FAILURE_SECONDS = 1.0
COALESCE_SECONDS = 0.1
"""After a wake-up the thread rests: in a rush it would publish for every order and take the interpreter from requests
each time. The first wake-up goes out at once, the next ones at most this late."""


def _flag(name: str) -> str:
    return f"wake:{name}"


def clear_flag(name: str) -> None:
    """Let the next wake-up of `name` publish again. Only the stage's drainer clears, before it claims."""
    try:
        connections.flags().delete(_flag(name))
    except redis.RedisError:
        log.warning("flag_not_cleared", stage=name)  # it expires by itself


def is_flag_set(name: str) -> bool:
    """Say whether `name` was woken since its flag was cleared; no when Redis does not answer."""
    try:
        return bool(connections.flags().exists(_flag(name)))
    except redis.RedisError:
        return False


def _publish_one(name: str) -> None:
    """Set the flag, then publish. Raises redis and kombu errors."""
    if connections.flags().set(_flag(name), 1, nx=True, px=FLAG_MS):
        current_app.send_task(name, ignore_result=True, retry=False)


def publish(*names: str) -> bool:
    """Wake the stages `names` now; return whether all were published."""
    try:
        for name in names:
            _publish_one(name)
    except Exception as error:  # noqa: BLE001 - kombu lets errors of every layer through; a wake-up may be lost
        log.warning("wakeup_not_published", stages=names, error=repr(error))
        return False
    return True


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
            if publish(*names):
                time.sleep(COALESCE_SECONDS)
                continue
            time.sleep(PAUSE_AFTER_FAILURE_SECONDS)
            with self._lock:
                self._due.update(names)
            self._is_due.set()


_publisher = _Publisher()


def wake(name: str) -> None:
    """Wake a stage soon. Never blocks, never raises; for `db.run_after_commit`."""
    _publisher.wake(name)
