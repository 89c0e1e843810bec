"""The shop's own processes, as command lines: web, worker, beat, metrics."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings

from shop.local import ports, processes
from shop.local.session import Session


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the shop: `name` is its SHOP_PART."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    pass_fds: Sequence[int] = ()
    hard_stop: signal.Signals = signal.SIGKILL
    orphans: Callable[[], list[int]] | None = None

    def start(self) -> processes.Child:
        if self.orphans is not None:
            processes.end_all(self.orphans, (signal.SIGKILL, 1.0))
        return processes.spawn(
            [sys.executable, *self.command],
            cwd=settings.BASE_DIR,
            env=self._env(),
            output=subprocess.PIPE,
            pass_fds=self.pass_fds,
        )

    def _env(self) -> dict[str, str]:
        """Return its environment: a part is the database's app, so the owner's password is none of its business."""
        others = ("SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL", "SHOP_DATABASE_ROLE")
        ours = {name: value for name, value in os.environ.items() if name not in others}
        return ours | self.environment | {"SHOP_PART": self.name}

    def stop(self, child: processes.Child, seconds: float) -> None:
        """Let it finish what it has begun, then end it and what it started."""
        processes.stop(child, (signal.SIGTERM, seconds))


def web(session: Session, shared: dict[str, str], listener: socket.socket) -> Program:
    """
    Return the web server.

    gunicorn inherits the supervisor's listening socket: while a killed web part restarts, clients wait instead of being
    refused. granian opens its own, so it has the port to itself; its processes do not notice that their parent was
    killed and are ended before the next one starts.
    """
    if settings.WEB_SERVER == "gunicorn":
        descriptor = listener.fileno()
        return Program(
            "web", ("-m", "gunicorn", "--config=config/gunicorn.py", f"--bind=fd://{descriptor}"), shared, (descriptor,)
        )
    port = listener.getsockname()[1]
    listener.close()
    return Program("web", ("-m", "granian", *granian_options(port)), shared, orphans=partial(_running, session, "web"))


def granian_options(port: int) -> tuple[str, ...]:
    """Return granian's command line: the same WSGI application, processes, threads and limits as config/gunicorn.py."""
    return (
        "--interface=wsgi",
        "--http=1",
        "--no-ws",
        f"--host={ports.LOOPBACK}",
        f"--port={port}",
        f"--workers={settings.WEB_PROCESSES}",
        f"--blocking-threads={settings.WEB_THREADS}",
        "--blocking-threads-idle-timeout=600",  # a thread that ends takes its database connection along
        "--backlog=4096",
        "--backpressure=2000",  # counts connections, kept-alive ones too; its default starves 1,500 clients
        "--http1-header-read-timeout=5000",
        "--respawn-failed-workers",
        "--workers-kill-timeout=5",
        "--no-access-log",
        "--log-level=warning",
        "config.wsgi:application",
    )


def _running(session: Session, name: str) -> list[int]:
    """Return the processes of one part of this data directory."""
    return processes.with_environment(SHOP_PART=name, SHOP_DATA_DIR=str(session.data_dir))


def programs(session: Session, *, listener: socket.socket, workers: int) -> list[Program]:
    """Return the shop's processes in the order they are started."""
    shared = {"PYTHONUNBUFFERED": "1", "PROMETHEUS_MULTIPROC_DIR": str(session.metrics_dir)}
    # Celery warns root at every start; a container's or a drill machine's root knows.
    shared["PYTHONWARNINGS"] = "ignore:You're running the worker with superuser privileges"
    level = f"--loglevel={settings.LOG_LEVEL}"
    celery = ("-m", "celery", "--app=config", "--quiet", "--skip-checks")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    # In memory: a file would keep times of a clock that has been set back since, and until they come nothing is due.
    schedule = "--scheduler=celery.beat:Scheduler"
    return [
        Program("metrics", ("manage.py", "metrics"), shared),
        Program("worker", (*celery, "worker", level, f"--concurrency={workers}", *quiet), shared),
        Program("beat", (*celery, "beat", level, schedule, "--pidfile="), shared),
        web(session, shared, listener),
    ]


def empty_metrics(directory: Path) -> None:
    """Forget the counters of processes that are no more: old files would be summed up for ever."""
    directory.mkdir(exist_ok=True)
    for counters in directory.glob("*.db"):  # only what the exporter reads: the user chose the directory around it
        counters.unlink()


def stop_left_over(session: Session) -> None:
    """Stop parts that outlived a killed supervisor of this data directory; they would work on with old addresses."""

    def find() -> list[int]:
        return [pid for name in ("web", "beat", "worker", "metrics") for pid in _running(session, name)]

    processes.end_all(find, (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
