"""Shops of the benchmark's own: started with `manage.py up` in a fresh data directory, removed afterwards."""

import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from loadtests import procfs
from shop.local import ports, processes

READY_SECONDS, STOP_SECONDS = 120.0, 25.0
OTHERS = (
    *("DATABASE_URL", "SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL", "SHOP_DATABASE_ROLE", "REDIS_URL"),
    *("SHOP_DATA_DIR", "SHOP_PART", "SHOP_METRICS_DIR", "SHOP_METRICS_PORT", "PROMETHEUS_MULTIPROC_DIR"),
)
"""Variables that lead to another shop than the one a command is meant for."""

Say = Callable[[str], None]


class NotMeasured(Exception):
    """A command of the benchmark could not do its work; the message says which and what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A running shop of the benchmark's own; `server` serves its web, commands against it run on `asked_from` alone."""

    data_dir: Path
    base_url: str
    server: str
    asked_from: Collection[int] = ()

    def manage(self, *arguments: str, fine: tuple[int, ...] = (0, 3)) -> str:
        """
        Run a command against this shop and return what it printed; its progress goes to our stderr.

        Raises: NotMeasured for an exit code that is not `fine` (3: the command worked, what it found may be wrong).
        """
        command = [sys.executable, "manage.py", *arguments, "--data-dir", str(self.data_dir)]
        environment = clean_environment(self.server)
        with pinned(self.asked_from):
            done = subprocess.run(
                command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True, check=False
            )
        if done.returncode not in fine:
            raise NotMeasured(f"{line_of(arguments)}: exit code {done.returncode} {done.stdout.strip()[-500:]}")
        return done.stdout

    def memory_mb(self) -> dict[str, float]:
        """Return what web, worker and beat take: `shared` counts a page of two processes once, `plain` twice."""
        found = procfs.find_parts(self.data_dir)
        pids = [pid for part in ("web", "worker", "beat") for pid in found.get(part, [])]
        return {"shared": procfs.proportional_mb(pids), "plain": procfs.resident_mb(pids)}


def line_of(arguments: tuple[str, ...]) -> str:
    """Return the command line a person types for the same, against the shop `up` started."""
    shown, skip = [], False
    for argument in arguments:
        if argument in ("--report", "--data-dir"):
            skip = True
        elif skip:
            skip = False
        else:
            shown.append(argument)
    return f"manage.py {shlex.join(shown)}"


def clean_environment(server: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OTHERS}
    return kept | ({"SHOP_WEB_SERVER": server} if server else {})


@contextmanager
def pinned(cpus: Collection[int]) -> Iterator[None]:
    """Let what is started in the block, and what that starts, run on these CPUs alone; anywhere if none is named."""
    before = os.sched_getaffinity(0)  # of this thread, which is what a child takes over
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Cpus:
    """Which CPUs a shop has for itself, and which those have who ask it; empty: any."""

    shop: Collection[int] = ()
    others: Collection[int] = ()


ANY = Cpus()


@contextmanager
def shop(say: Say, *, server: str = "", cpus: Cpus = ANY, variables: Mapping[str, str] | None = None) -> Iterator[Shop]:
    """Run a shop without data until the block ends. Raises NotMeasured when it does not become ready."""
    server = server or settings.WEB_SERVER
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=settings.DATA_DIR, ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)  # PostgreSQL runs under an account of its own where we are root
        data_dir = Path(place) / "shop"
        say(f"starting a shop of its own ({server})")
        with (Path(place) / "up.log").open("w+b") as log:
            with pinned(cpus.shop):
                child = processes.spawn(
                    [
                        sys.executable,
                        "manage.py",
                        "up",
                        "--no-seed",
                        f"--port={ports.free_port()}",
                        f"--data-dir={data_dir}",
                    ],
                    cwd=settings.BASE_DIR,
                    env=clean_environment(server) | dict(variables or {}),
                    output=subprocess.PIPE,
                    errors=log,
                )
            try:
                base_url = _ready(child, Path(log.name))
                yield Shop(data_dir=data_dir, base_url=base_url, server=server, asked_from=cpus.others)
            finally:
                processes.stop(child, (signal.SIGTERM, STOP_SECONDS))


def _ready(child: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the address in the line `ready http://…`."""
    assert child.stdout is not None  # noqa: S101 - it was asked for when the child was started
    said, deadline = b"", time.monotonic() + READY_SECONDS
    while not said.endswith(b"\n") and select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (more := os.read(child.stdout.fileno(), 1)):
            break
        said += more
    if not said.startswith(b"ready http"):
        raise NotMeasured(f"the benchmark's shop did not start; it said:\n{log.read_text(errors='replace')[-2_000:]}")
    return said.decode().split()[1]
