"""
Whose access tokens ended before their time: a short list that each web process keeps, about a second old.

An access token is good for 15 minutes without asking anybody, so a disabled user or a stolen password would be good for
as long. PostgreSQL notes when a user's sessions end (the trigger on `shop_user`); one thread per web process asks for
what is new each second over a connection of its own, and a request only looks into a dict. So a token dies within two
seconds, and no request waits for that: while PostgreSQL is away the list stands still (tokens go on as they would
without it, and nobody can be disabled either).
"""

import threading
import time
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections, connection

from shop import db
from shop.postgresql.turnstile import Turnstile

log = structlog.get_logger("shop.revocations")

POLL_SECONDS = 1.0
REMEMBERED = timedelta(hours=25)  # longer than any access token lives; those of `seed` and the load tests live a day
OVERLAP = timedelta(seconds=60)  # a transaction may commit that much later than it noted the time
ANEW_SECONDS = 600.0  # how often the whole list is read again, which forgets what is older than REMEMBERED

_first_good: dict[int, int] = {}
_turnstile = Turnstile()


def first_good_generation(user_id: int) -> int:
    """Return the generation a user's tokens must have at least."""
    return _first_good.get(user_id, 0)


def refresh(*, since: timedelta = REMEMBERED) -> None:
    """Take over whose sessions ended in the last `since`; the default reads the whole list anew."""
    global _first_good
    ended = db.rows(
        "SELECT id, token_generation FROM shop_user WHERE sessions_ended_at > clock_timestamp() - %s", [since]
    )
    if since >= REMEMBERED:
        _first_good = dict(ended)
    else:
        _first_good.update(ended)


def _connect() -> None:
    """Have a connection that lives and does not queue with the requests: a lock storm must not keep a token alive."""
    close_old_connections()
    connection.ensure_connection()
    made: Any = connection.connection
    if made.turnstile is not _turnstile:
        made.turnstile = _turnstile


def _watch() -> None:
    """Refresh each second, for as long as the process lives."""
    read_anew_at = read_at = float("-inf")
    while True:
        began = time.monotonic()
        is_due = began - read_anew_at >= ANEW_SECONDS
        try:
            _connect()
            refresh(since=REMEMBERED if is_due else OVERLAP + timedelta(seconds=began - read_at))
        except Exception as error:  # noqa: BLE001 - whatever went wrong once, the list must be kept as long as we live
            log.warning("revocations_not_read", error=repr(error))
        else:
            read_at, read_anew_at = began, began if is_due else read_anew_at
        time.sleep(POLL_SECONDS)


def watch() -> None:
    """Begin to keep the list; for a web process, once, after it was forked."""
    if settings.PART == "web":
        threading.Thread(target=_watch, name="revocations", daemon=True).start()
