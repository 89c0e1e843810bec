"""Start and stop the empty view under the web server the shop uses, with the same configuration."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from loadtests.client import Client, NoAnswer
from loadtests.generator import NoGenerator
from shop.local import parts, ports, processes

APPLICATION = "loadtests.empty_view:application"
START_SECONDS, STOP_SECONDS = 20.0, 8.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class EmptyServer:
    """A running empty view; `data_dir` is what its processes carry in SHOP_DATA_DIR, by which they are found."""

    url: str
    data_dir: Path


@contextmanager
def empty_server() -> Iterator[EmptyServer]:
    """Serve the empty view until the block ends. Raises NoGenerator when it does not start."""
    port = ports.free_port()
    url = f"http://{ports.LOOPBACK}:{port}"
    with tempfile.TemporaryDirectory(prefix="empty-view-") as directory, tempfile.TemporaryFile() as output:
        data_dir = Path(directory)
        child = processes.spawn(
            [sys.executable, *_command(port)],
            cwd=settings.BASE_DIR,
            env=environment_of_a_web(data_dir),
            output=output,
        )
        try:
            _wait_until_ready(url, child)
            yield EmptyServer(url, data_dir)
        finally:
            processes.stop(child, (signal.SIGTERM, STOP_SECONDS))


def _command(port: int) -> tuple[str, ...]:
    if settings.WEB_SERVER == "gunicorn":
        return ("-m", "gunicorn", "--config=config/gunicorn.py", f"--bind={ports.LOOPBACK}:{port}", APPLICATION)
    return ("-m", "granian", *parts.granian_options(port)[:-1], APPLICATION)


def environment_of_a_web(data_dir: Path) -> dict[str, str]:
    """Return the environment of a web process that works for this shop; `data_dir` marks whose it is."""
    return os.environ | {
        "DATABASE_URL": settings.DATABASE_URL,
        "REDIS_URL": settings.REDIS_URL,
        "SHOP_SECRET_KEY": settings.SECRET_KEY,
        "SHOP_JWT_KEY": settings.JWT_KEY,
        "SHOP_PART": "web",
        "SHOP_DATA_DIR": str(data_dir),
        "SHOP_METRICS_DIR": str(data_dir),
        "PROMETHEUS_MULTIPROC_DIR": str(data_dir),
    }


def _wait_until_ready(url: str, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not processes.has_ended(child):
        client = Client(url)
        try:
            if client.get("/empty").status == 200:
                return
        except NoAnswer:
            time.sleep(POLL_SECONDS)
        finally:
            client.close()
    raise NoGenerator("the empty view did not start; is the web server in the requirements installed?")
