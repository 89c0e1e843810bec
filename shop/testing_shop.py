"""A real shop for tests: `manage.py up` in a data directory of its own, with everything it starts."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shop.local import ports, processes

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS, STOP_SECONDS = 60.0, 20.0
FOREIGN = ("SHOP_", "PROMETHEUS_", "PYTEST_", "DJANGO_")


def clean_environment() -> dict[str, str]:
    """Return the environment without what the test session has put there: a newcomer has none of it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SHOP_WEB_SERVER"  # chosen for the whole session: SHOP_WEB_SERVER=granian make test
        or (not name.startswith(FOREIGN) and name not in ("DATABASE_URL", "REDIS_URL"))
    }


def run_manage(*arguments: str, data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as from a second terminal."""
    return subprocess.run(
        [sys.executable, "manage.py", arguments[0], "--data-dir", str(data_dir), *arguments[1:]],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )


@dataclass
class RunningShop:
    """A shop that said `ready`."""

    child: processes.Child
    data_dir: Path
    base_url: str
    log: Path

    @property
    def services(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "services.json").read_text()))

    @property
    def database_url(self) -> str:
        """The database as its parts see it: the role that works with rows and changes no table."""
        return str(self.services["DATABASE_URL"])

    @property
    def owner_url(self) -> str:
        """The database as the role that owns it."""
        return str(self.services["SHOP_OWNER_DATABASE_URL"])

    @property
    def reader_url(self) -> str:
        return str(self.services["SHOP_READER_DATABASE_URL"])

    @property
    def redis_url(self) -> str:
        return str(self.services["REDIS_URL"])

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that belongs to this shop."""
        names = ("DATABASE_URL", "REDIS_URL", "SHOP_SECRET_KEY", "SHOP_JWT_KEY")
        services = self.services
        return clean_environment() | {name: services[name] for name in names} | {"SHOP_DATA_DIR": str(self.data_dir)}

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_manage(*arguments, data_dir=self.data_dir, **environment)

    def part(self, name: str) -> list[int]:
        """Return the processes of one part: `web`, `worker`, `beat`, `metrics`, `postgres` or `valkey-server`."""
        if name in ("postgres", "valkey-server"):
            return processes.working_in(self.data_dir / name.partition("-")[0], name)
        return processes.with_environment(SHOP_PART=name, SHOP_DATA_DIR=str(self.data_dir))

    def everything(self) -> list[int]:
        """Return every process of this shop, its supervisor included."""
        inherited = processes.with_environment(SHOP_DATA_DIR=str(self.data_dir))
        supervisor = [] if processes.has_ended(self.child) else [self.child.pid]
        return [*supervisor, *inherited, *self.part("postgres"), *self.part("valkey-server")]

    def stop(self) -> int:
        """Stop it as Ctrl-C does; return its exit code."""
        stop(self.child)
        return self.child.returncode


def stop(child: processes.Child) -> None:
    processes.stop(child, (signal.SIGTERM, STOP_SECONDS))
    if child.stdout is not None:
        child.stdout.close()


def start_shop(
    data_dir: Path, *arguments: str, port: int | None = None, seed: bool = False, **environment: str
) -> RunningShop:
    """Start a shop, without demo data unless `seed`, and wait until it says ready."""
    port = port or ports.free_port()
    data = () if seed else ("--no-seed",)
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("ab") as errors:
        child = processes.spawn(
            [sys.executable, "manage.py", "up", *data, f"--port={port}", f"--data-dir={data_dir}", *arguments],
            cwd=ROOT,
            env=clean_environment() | environment,
            output=subprocess.PIPE,
            errors=errors,
        )
    line = _first_line(child)
    if not line.startswith("ready http"):
        stop(child)
        pytest.fail(f"the shop did not start (said {line!r}); its log:\n{log.read_text()[-6000:]}")
    return RunningShop(child, data_dir, line.split()[1], log)


def _first_line(child: processes.Child) -> str:
    """Return the child's first line on stdout, or what it had said when it ended or time was up."""
    assert child.stdout is not None
    said, deadline = b"", time.monotonic() + READY_SECONDS
    while not said.endswith(b"\n") and select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (more := os.read(child.stdout.fileno(), 1)):
            break
        said += more
    return said.decode()


@pytest.fixture(scope="session")
def running_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    """
    One shop for all tests of the session that ask for it; they run one after another.

    It refuses nobody early: beside the other tests a small machine is overloaded, and that is tested where it belongs.
    """
    shop = start_shop(tmp_path_factory.mktemp("running") / "shop", SHOP_ADMISSION="false")
    yield shop
    shop.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the running shop in one process of xdist: what one does to it must not disturb another."""
    for item in items:
        if "running_shop" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("shop"))
