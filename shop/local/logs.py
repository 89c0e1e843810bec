"""The logs of all parts on one stderr, each line behind the name of its part."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from shop.local.processes import Child

WIDTH = 9
COLOURS = {"up": 1, "postgres": 34, "valkey": 31, "web": 32, "worker": 33, "beat": 35, "metrics": 36}


def _prefix(name: str) -> str:
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        return f"\033[{COLOURS.get(name, 0)}m{name:<{WIDTH}}|\033[0m "
    return f"{name:<{WIDTH}}| "


def write(name: str, line: str) -> None:
    """Write one line to stderr in one piece; a reader that has gone must not stop the shop."""
    try:
        sys.stderr.write(f"{_prefix(name)}{line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


@contextmanager
def step(done: str) -> Iterator[None]:
    """Say that a step of the start is done, and how long it took."""
    began = time.monotonic()
    yield
    write("up", f"{done} ({time.monotonic() - began:.1f} s)")


def forward(name: str, child: Child) -> None:
    """Write what the child says until it and all it has started are silent; never lets its pipe fill up."""
    if child.stdout is not None:
        threading.Thread(target=_forward, args=(name, child.stdout), name=f"log of {name}", daemon=True).start()


def _forward(name: str, pipe: IO[bytes]) -> None:
    with pipe:
        for line in pipe:
            write(name, line.decode(errors="replace").rstrip())
