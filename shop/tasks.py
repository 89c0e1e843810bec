"""What the clock makes the kernel do."""

import time
from collections.abc import Callable
from datetime import timedelta

from celery import shared_task

from shop import auth, db, health, idempotency

KEY_LIFE = timedelta(hours=25)  # API.md: keys live at least 24 h
AT_ONCE, MOST_SECONDS = 5_000, 8.0  # a task has ten seconds; one statement for a day's rows would be cut off each time


@shared_task(name="shop.heartbeat")
def heartbeat(**_: object) -> None:
    health.beat_heart()


@shared_task(name="shop.forget_old_keys")
def forget_old_keys(**_: object) -> None:
    moment = db.clock() - KEY_LIFE  # a worker ahead of time would forget too soon
    _in_pieces(lambda: idempotency.forget_older_than(moment, limit=AT_ONCE))


@shared_task(name="shop.flush_spent_tokens")
def flush_spent_tokens(**_: object) -> None:
    _in_pieces(lambda: auth.forget_spent_tokens(limit=AT_ONCE))


def _in_pieces(forget: Callable[[], int]) -> None:
    """Forget a piece a transaction; what is not done in the task's time is left to the next one."""
    ends_at = time.monotonic() + MOST_SECONDS
    while time.monotonic() < ends_at:
        with db.transaction():
            if forget() < AT_ONCE:
                return
