"""Ending what an earlier run left behind: over means that its sockets are free again."""

import signal
import subprocess
import sys

from shop.local import processes

SLOW_TO_GO = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(7)))
print("ready", flush=True)
time.sleep(60)
"""


def test_end_all_waits_for_a_process_that_is_no_longer_found_but_not_over() -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_TO_GO], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        finds = iter([[child.pid]])  # as /proc/PID/environ, which is empty from the first step of an exit on
        assert processes.end_all(lambda: next(finds, []), (signal.SIGTERM, 10.0))
        assert processes.has_ended(child)
        assert child.wait() == 7


def test_end_all_says_that_a_process_stayed() -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_TO_GO], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        finds = iter([[child.pid]])
        assert not processes.end_all(lambda: next(finds, []), (signal.SIGTERM, 0.1))
        assert child.wait() == 7
