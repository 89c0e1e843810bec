"""The Celery application: queues declared with kombu, who runs what, and what the clock does."""

import gc
import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

EXCHANGE = Exchange("shop", type="direct", durable=True)
QUEUES = ("orders", "coupons", "clock")
app.conf.task_queues = [
    Queue(name, EXCHANGE, routing_key=name, durable=True, no_ack=name != "clock") for name in QUEUES
]
app.conf.update(
    task_default_queue="clock",
    task_default_exchange=EXCHANGE.name,
    task_default_routing_key="clock",
)
app.conf.task_routes = {
    "orders.*": {"queue": "orders", "routing_key": "orders"},
    "coupons.*": {"queue": "coupons", "routing_key": "coupons"},
}

SWEEP_SECONDS = 5.0  # what a lost wake-up costs at most (FAULTS.md F10)
app.conf.beat_schedule = {
    name: {"task": name, "schedule": schedule, "options": {"expires": 60}}
    for name, schedule in {
        "shop.heartbeat": SWEEP_SECONDS,
        "orders.sweep": SWEEP_SECONDS,
        "coupons.record_claims": SWEEP_SECONDS,
        "coupons.check_gates": SWEEP_SECONDS,
        "coupons.expire_issuances": 60.0,
        "catalog.refresh_popularity": 600.0,  # 2.9 s once in a shop of a million products
        "shop.forget_old_keys": crontab(minute="17"),
        "shop.flush_spent_tokens": crontab(minute="7"),
    }.items()
}


@signals.setup_logging.connect
def set_up_logs(**_: Any) -> None:
    """Log like the web does; connecting this signal keeps Celery from installing its own handlers."""
    from shop import logs  # noqa: PLC0415 - settings exist only now

    logs.set_up()


@signals.worker_ready.connect
def announce_worker(**_: Any) -> None:
    """Let /readyz see the worker at once instead of after the first beat."""
    from shop import tasks  # noqa: PLC0415 - settings exist only now

    tasks.heartbeat.delay()


@signals.worker_process_init.connect
def keep_what_is_loaded(**_: Any) -> None:
    """Take what the worker has imported out of the garbage collector's rounds: a batch makes tuples by the thousand,
    and searching all modules for garbage each time cost a fifth of its Python (26 to 21 us per order)."""
    gc.collect()
    gc.freeze()


@signals.task_prerun.connect
def drop_dead_connections(**_: Any) -> None:
    """Check the kept connection before a task uses it: without this none of 15 tasks worked after a PostgreSQL restart
    (FAULTS.md 4.1)."""
    from django.db import close_old_connections  # noqa: PLC0415 - settings exist only now

    close_old_connections()
