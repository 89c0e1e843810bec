"""What the clock makes the kernel do."""

from datetime import timedelta

from celery import shared_task
from django.core.management import call_command

from shop import db, health, idempotency

KEY_LIFE = timedelta(hours=25)  # API.md: keys live at least 24 h


@shared_task(name="shop.heartbeat")
def heartbeat(**_: object) -> None:
    health.beat_heart()


@shared_task(name="shop.forget_old_keys")
def forget_old_keys(**_: object) -> None:
    with db.transaction():
        idempotency.forget_older_than(db.clock() - KEY_LIFE)  # a worker ahead of time would forget too soon


@shared_task(name="shop.flush_spent_tokens")
def flush_spent_tokens(**_: object) -> None:
    call_command("flushexpiredtokens")
