"""
Python loads this before anything else where a drill puts its directory on PYTHONPATH, and nowhere else.

DRILL_CLOCK_AHEAD_SECONDS: the process believes it is that much later (libfaketime is not on every machine).
DRILL_WITHOUT: one of the guards below is taken away, so that the drill of this guard must fail.
"""

import datetime
import importlib.abc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# --- another time ---------------------------------------------------------------------------------------------------


def go_ahead(seconds: float) -> None:
    """Move time.time() and datetime.now() ahead; monotonic clocks, which measure waits, stay as they are."""
    real_time, real = time.time, datetime.datetime

    class Pretender(type):
        """What others have made is a datetime too."""

        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, real)

    class Ahead(real, metaclass=Pretender):  # type: ignore[misc, valid-type]  # a class made of a variable
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    datetime.datetime = Ahead  # type: ignore[misc]  # on purpose


# --- guards taken away ----------------------------------------------------------------------------------------------


def no_sweep(module: Any) -> None:
    """config.celery: beat sends the heartbeat and nothing else."""
    module.app.conf.beat_schedule = {
        name: entry for name, entry in module.app.conf.beat_schedule.items() if name == "shop.heartbeat"
    }


def no_keys(module: Any) -> None:
    """shop.idempotency: every request is new."""
    take = module.take
    module.take = lambda key: take(key) and None


def no_supervision(module: Any) -> None:
    """shop.local.supervisor: what dies stays dead."""
    module.Part.tend = lambda part: None


def no_durability(module: Any) -> None:
    """shop.local.postgres: a commit is acknowledged before it is on disk."""
    module.DURABLE |= {"synchronous_commit": "off", "wal_writer_delay": "1s"}


def no_time_limits(module: Any) -> None:
    """config.settings: a statement waits as long as it must, for the server and for the call (docs/decisions/0012)."""
    module.DATABASES["default"]["OPTIONS"].pop("options")
    module.DATABASE_CALL_SECONDS = None


def no_redis_limits(module: Any) -> None:
    """config.settings: a request waits for Redis as long as it must."""
    module.REDIS_TIMEOUT_SECONDS = 30


def no_exception_map(module: Any) -> None:
    """shop.db: a lost database is an error like any other."""
    module.TROUBLE = ()


GUARDS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "sweep": ("config.celery", no_sweep),
    "keys": ("shop.idempotency", no_keys),
    "supervision": ("shop.local.supervisor", no_supervision),
    "durability": ("shop.local.postgres", no_durability),
    "time-limits": ("config.settings", no_time_limits),
    "redis-limits": ("config.settings", no_redis_limits),
    "exception-map": ("shop.db", no_exception_map),
}


class Remover(importlib.abc.MetaPathFinder):
    """Lets a module load as ever, then takes its guard away."""

    def __init__(self, name: str, remove: Callable[[Any], None]) -> None:
        self.name, self.remove = name, remove

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_remove(module: ModuleType) -> None:
                load(module)
                self.remove(module)

            spec.loader.exec_module = load_and_remove  # type: ignore[method-assign]  # this one loader only
        return spec


if ahead := os.environ.get("DRILL_CLOCK_AHEAD_SECONDS"):
    go_ahead(float(ahead))
if without := os.environ.get("DRILL_WITHOUT"):
    sys.meta_path.insert(0, Remover(*GUARDS[without]))
