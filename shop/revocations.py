"""
Whose access tokens ended before their time: a short list that each web process keeps, about a second old.

An access token is good for 15 minutes without asking anybody, so a disabled user or a stolen password would be good for
as long. PostgreSQL notes when a user's sessions end (the trigger on `shop_user`); each web process asks for what is
new once a second (`shop.pulse`), and a request only looks into a dict. So a token dies within two
seconds, and no request waits for that: while PostgreSQL is away the list stands still (tokens go on as they would
without it, and nobody can be disabled either).
"""

import math
import time
from datetime import timedelta

from shop import db

REMEMBERED = timedelta(hours=25)  # longer than any access token lives; those of `seed` and the load tests live a day
OVERLAP = timedelta(seconds=60)  # a transaction may commit that much later than it noted the time
ANEW_SECONDS = 600.0  # how often the whole list is read again, which forgets what is older than REMEMBERED

_first_good: dict[int, int] = {}
_read_at = _read_anew_at = -math.inf


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


def look() -> None:
    """Refresh what is due: what is new each time, now and then the whole list; what failed is made good next time."""
    global _read_at, _read_anew_at
    began = time.monotonic()
    is_due = began - _read_anew_at >= ANEW_SECONDS
    refresh(since=REMEMBERED if is_due else OVERLAP + timedelta(seconds=began - _read_at))
    _read_at, _read_anew_at = began, began if is_due else _read_anew_at
