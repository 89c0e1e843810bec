"""
One run of `manage.py up`: it holds the data directory's lock and knows every address before the settings load.

manage.py opens the session first and puts `environment` into os.environ, so that settings, migrations and demo data in
the `up` process, and every part it starts, read the same addresses the same way. Imports neither Django nor drivers.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from shop.local import ports
from shop.local.errors import CannotStart
from shop.local.services import Services

OWNER, APP, READER = "shop", "shop_app", "shop_reader"
DATABASE_URLS = ("DATABASE_URL", "SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL")


class Session:
    """The data directory, claimed for this process until it ends."""

    def __init__(self, data_dir: Path, environ: Mapping[str, str], *, metrics_port: int) -> None:
        self.data_dir = data_dir
        self.lock = _claim(data_dir)
        self.services = Services(data_dir / "services.json")
        self.embeds_postgres = not environ.get("DATABASE_URL")
        self.embeds_valkey = not environ.get("REDIS_URL")
        self.ports = {
            "postgres": ports.free_port(self.services.port("postgres")),
            "valkey": ports.free_port(self.services.port("valkey")),
            "metrics": metrics_port or ports.free_port(self.services.port("metrics")),
        }
        self.environment = self._environment(environ)
        self.services.put(ports=self.ports)

    @property
    def postgres_data(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def valkey_data(self) -> Path:
        return self.data_dir / "valkey"

    @property
    def metrics_dir(self) -> Path:
        return self.data_dir / "metrics"

    def _environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what every process of this shop must find in its environment."""
        secret, port = self.services.secret, self.ports
        valkey = f"redis://:{secret('VALKEY_PASSWORD')}@{ports.LOOPBACK}:{port['valkey']}/0"
        return self._databases(environ) | {
            "REDIS_URL": environ.get("REDIS_URL") or valkey,
            "SHOP_SECRET_KEY": environ.get("SHOP_SECRET_KEY") or secret("SHOP_SECRET_KEY"),
            "SHOP_JWT_KEY": environ.get("SHOP_JWT_KEY") or secret("SHOP_JWT_KEY"),
            "SHOP_DATA_DIR": str(self.data_dir),
            "SHOP_METRICS_DIR": str(self.metrics_dir),
            "SHOP_METRICS_PORT": str(port["metrics"]),
        }

    def _databases(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the addresses of the app, the owner and the reader: the embedded database's, or what is set."""
        if not self.embeds_postgres:
            return {name: environ.get(name, "") for name in DATABASE_URLS}
        if set(DATABASE_URLS) & {name for name, value in environ.items() if value}:
            raise CannotStart("SHOP_OWNER_DATABASE_URL and SHOP_READER_DATABASE_URL need DATABASE_URL beside them")
        passwords = {APP: "POSTGRES_APP_PASSWORD", OWNER: "POSTGRES_PASSWORD", READER: "POSTGRES_READER_PASSWORD"}
        where = f"{ports.LOOPBACK}:{self.ports['postgres']}/shop"
        logins = [f"{role}:{self.services.secret(name)}" for role, name in passwords.items()]
        return dict(zip(DATABASE_URLS, (f"postgres://{login}@{where}" for login in logins), strict=True))


def _claim(data_dir: Path) -> IO[str]:
    """Return the locked lock file. Raises CannotStart when the directory cannot be written or another `up` holds it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "up.lock").open("a+")
    except OSError as error:
        raise CannotStart(f"cannot write to the data directory {data_dir}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        raise CannotStart(f"{data_dir} is in use: the shop already runs there (pid {holder})") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


current: Session | None = None


def open_session(data_dir: Path, *, metrics_port: int) -> None:
    """Claim the data directory for this process and put its addresses into the environment. Raises CannotStart."""
    global current  # manage.py opens it before Django, the `up` command finds it here
    current = Session(data_dir, os.environ, metrics_port=metrics_port)
    os.environ.update(current.environment)
