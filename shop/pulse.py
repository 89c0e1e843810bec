"""
What each web process looks at once a second, on one thread with a database connection of its own.

It does not queue with the requests: a lock storm or a busy web must not keep it from looking. While PostgreSQL is away
what was last seen stands.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections, connection

from shop.postgresql.turnstile import Turnstile

log = structlog.get_logger("shop.pulse")

POLL_SECONDS = 1.0
_turnstile = Turnstile()


def _connect() -> None:
    close_old_connections()
    connection.ensure_connection()
    made: Any = connection.connection
    if made.turnstile is not _turnstile:
        made.turnstile = _turnstile


def _beat(looks: tuple[Callable[[], None], ...]) -> None:
    while True:
        for look in looks:
            try:
                _connect()
                look()
            except Exception as error:  # noqa: BLE001 - whatever went wrong once, the next second is looked at again
                log.warning("pulse_missed", look=look.__qualname__, error=repr(error))
        time.sleep(POLL_SECONDS)


def start(*looks: Callable[[], None]) -> None:
    """Call each of `looks` once a second from now on; for a web process, once, after it was forked."""
    if settings.PART == "web":
        threading.Thread(target=_beat, args=(looks,), name="pulse", daemon=True).start()
