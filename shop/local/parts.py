"""The shop's own processes, as command lines: web, worker, beat, metrics."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from shop.local import processes
from shop.local.session import Session


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the shop: `name` is its SHOP_PART."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    pass_fds: Sequence[int] = ()
    hard_stop: signal.Signals = signal.SIGKILL

    def start(self) -> processes.Child:
        return processes.spawn(
            [sys.executable, *self.command],
            cwd=settings.BASE_DIR,
            env=os.environ | self.environment | {"SHOP_PART": self.name},
            output=subprocess.PIPE,
            pass_fds=self.pass_fds,
        )

    def stop(self, child: processes.Child, seconds: float) -> None:
        """Let it finish what it has begun, then end it and what it started."""
        processes.stop(child, (signal.SIGTERM, seconds))


def programs(session: Session, *, web_socket: int, workers: int) -> list[Program]:
    """
    Return the shop's processes in the order they are started.

    The listening socket is the supervisor's: while a killed web part restarts, clients wait instead of being refused.
    """
    shared = {"PYTHONUNBUFFERED": "1", "PROMETHEUS_MULTIPROC_DIR": str(session.metrics_dir)}
    # Celery warns root at every start; a container's or a drill machine's root knows.
    shared["PYTHONWARNINGS"] = "ignore:You're running the worker with superuser privileges"
    level = f"--loglevel={settings.LOG_LEVEL}"
    celery = ("-m", "celery", "--app=config", "--quiet", "--skip-checks")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    schedule = f"--schedule={session.data_dir / 'beat-schedule'}"
    gunicorn = ("-m", "gunicorn", "--config=config/gunicorn.py", f"--bind=fd://{web_socket}")
    return [
        Program("metrics", ("manage.py", "metrics"), shared),
        Program("worker", (*celery, "worker", level, f"--concurrency={workers}", *quiet), shared),
        Program("beat", (*celery, "beat", level, schedule, "--pidfile="), shared),
        Program("web", gunicorn, shared, (web_socket,)),
    ]


def empty_metrics(directory: Path) -> None:
    """Forget the counters of processes that are no more: old files would be summed up for ever."""
    directory.mkdir(exist_ok=True)
    for counters in directory.glob("*.db"):  # only what the exporter reads: the user chose the directory around it
        counters.unlink()


def stop_left_over(session: Session) -> None:
    """Stop parts that outlived a killed supervisor of this data directory; they would work on with old addresses."""

    def find() -> list[int]:
        return [
            pid
            for name in ("web", "beat", "worker", "metrics")
            for pid in processes.with_environment(SHOP_PART=name, SHOP_DATA_DIR=str(session.data_dir))
        ]

    processes.end_all(find, (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
