"""
Real engines for a test session: one PostgreSQL and one Valkey, started before the settings load.

The root conftest starts them (not `-p`): so a bare `pytest`, which has no project on its path yet, works as well.

The controller (or the only process) starts them in a temporary directory, xdist's workers inherit their addresses and
take Redis databases of their own. Preset DATABASE_URL and REDIS_URL are used instead. Data of tests are worth nothing,
so these engines do not sync to disk; the tests of durability start a real `manage.py up`.
"""

import atexit
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import pytest

from shop.local import accounts, ports, postgres, processes, valkey

REDIS_DATABASES_EACH = 3  # broker, gate, cache: config.settings.redis_database
NEEDS_NO_ENGINE = {"--help", "-h", "--version", "-V", "--fixtures", "--markers"}


class Engines:
    """What runs for this session, and where."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="shop-tests-"))
        self.directory.chmod(0o755)  # the engines' account must pass; what is inside is closed
        self.log = (self.directory / "engines.log").open("wb")
        self.running: list[tuple[processes.Child, tuple[signal.Signals, float]]] = []

    def start_postgres(self) -> str:
        data = self.directory / "postgres"
        engine = postgres.Postgres(
            data=data,
            port=ports.free_port(),
            password=secrets.token_urlsafe(24),
            account=accounts.engine_account(data, postgres.bin_directory()),
            durable=False,
            output=self.log.fileno(),
        )
        engine.prepare()
        child = engine.start()
        self.running.append((child, (postgres.FAST, 5.0)))
        engine.wait_ready(child)
        return engine.url()

    def start_valkey(self) -> str:
        data = self.directory / "valkey"
        engine = valkey.Valkey(
            data=data,
            port=ports.free_port(),
            password=secrets.token_urlsafe(24),
            account=accounts.engine_account(data, valkey.server_program()),
            durable=False,
            output=self.log.fileno(),
        )
        engine.prepare()
        child = engine.start()
        self.running.append((child, (signal.SIGTERM, 2.0)))
        engine.wait_ready(child)
        return engine.url

    def stop(self) -> None:
        while self.running:
            child, how = self.running.pop()
            processes.stop(child, how)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


_engines: list[Engines] = []


def start_what_is_missing() -> None:
    """Start the engines no preset address stands for and put their addresses into the environment."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return
    engines = Engines()
    _engines.append(engines)
    atexit.register(stop_all)  # pytest_unconfigure does not run when the settings cannot be loaded
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = engines.start_postgres()
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = engines.start_valkey()


def stop_all() -> None:
    while _engines:
        _engines.pop().stop()


def take_redis_databases(worker: str) -> None:
    """Point this xdist worker (`gw0`, `gw1`, …) to databases of its own."""
    parts = urlsplit(os.environ["REDIS_URL"])
    number = int(parts.path.strip("/") or 0) + REDIS_DATABASES_EACH * (int(worker.removeprefix("gw")) + 1)
    os.environ["REDIS_URL"] = urlunsplit(parts._replace(path=f"/{number}"))


def start_session() -> None:
    """Give this process its engines and keys and load Django; called by the root conftest when it is imported."""
    if NEEDS_NO_ENGINE & set(sys.argv):
        return
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ.setdefault("SHOP_SECRET_KEY", secrets.token_urlsafe(48))
    os.environ.setdefault("SHOP_JWT_KEY", secrets.token_urlsafe(48))
    start_what_is_missing()
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        take_redis_databases(worker)
    django.setup()
    # xdist's workers would inherit it, and pytest-django would load their settings before take_redis_databases.
    del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    stop_all()
