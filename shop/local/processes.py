"""Processes of the local shop: started so that they die with us, found again after a crash, stopped in good time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from shop.local.accounts import Account

LAUNCHER = str(Path(__file__).with_name("launch.py"))
POLL_SECONDS = 0.02
Child = subprocess.Popen[bytes]


def spawn(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    dies_with: signal.Signals = signal.SIGTERM,
    output: int | IO[Any] | None = None,
    errors: int | IO[Any] | None = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
) -> Child:
    """
    Start a program in a session of its own; it gets the signal `dies_with` when this process dies, however it dies.

    The session keeps Ctrl-C from reaching it: who stops first is the supervisor's decision.
    """
    uid, gid, capability = (account.uid, account.gid, account.capability) if account else (-1, -1, None)
    tie = [os.getpid(), int(dies_with), uid, gid, -1 if capability is None else capability]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, *map(str, tie), *map(str, command)],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors if output is not None else None,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def has_ended(child: Child) -> bool:
    """Tell whether the child has ended, without reaping it: until then its pid and its group cannot be a stranger's."""
    if child.returncode is not None:
        return True
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(child: Child) -> int:
    """Kill what an ended child left behind in its session and return its exit status."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def stop(child: Child, *signals: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn, waiting its seconds for the end; at last SIGKILL to the child's whole session."""
    for number, seconds in signals:
        if has_ended(child):
            break
        os.kill(child.pid, number)  # Popen.send_signal would reap it
        wait_until(lambda: has_ended(child), seconds)
    reap(child)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition; tell whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def working_in(directory: Path, program: str) -> list[int]:
    """
    Return the processes called `program` whose working directory is `directory`: an engine of that data directory.

    This holds where a pid file fails: the pid may have been given to a stranger, and backends outlive a postmaster.
    """
    found = []
    for pid in _pids():
        try:
            same_directory = os.readlink(f"/proc/{pid}/cwd") == str(directory)
            if same_directory and Path(f"/proc/{pid}/comm").read_text().strip() == program and not is_zombie(pid):
                found.append(pid)
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    return found


def with_environment(**wanted: str) -> list[int]:
    """Return the processes that were started with all of these environment variables."""
    marks = {f"{name}={value}".encode() for name, value in wanted.items()}
    found = []
    for pid in _pids():
        try:
            environment = set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
        except OSError:
            continue
        if marks <= environment and pid != os.getpid():
            found.append(pid)
    return found


def is_zombie(pid: int) -> bool:
    """Tell whether the process has ended and only waits to be reaped. Raises OSError when it is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def has_let_go(pid: int) -> bool:
    """Tell whether the process holds no socket and no memory any more: it is gone, or a zombie without threads."""
    try:
        return os.listdir(f"/proc/{pid}/task") == [str(pid)] and is_zombie(pid)
    except OSError:
        return True


def end_all(find: Callable[[], list[int]], *signals: tuple[signal.Signals, float]) -> bool:
    """
    Send each signal to what `find` finds until all of it has let go; tell whether that was reached.

    A process that ends loses its environment and its directory, by which it is found, before it closes its sockets: who
    listens as soon as nothing is found any more can still meet a port that is taken.
    """
    met: set[int] = set()
    for number, seconds in signals:
        for pid in find():
            met.add(pid)
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if wait_until(lambda: all(map(has_let_go, met)) and not find(), seconds):
            return True
    return False
