"""Processes of the shop die, and it goes on: whoever started them starts them again."""

import os
import signal
from collections.abc import Generator

from loadtests.drills.registry import Expectation, Scene, drill
from shop.local import processes

Fault = Generator[None, None, None]
REPLACED_SECONDS = 10.0


def _is_replaced(scene: Scene, part: str, pid: int) -> bool:
    """Wait until the process is gone and the part has a main process of the supervisor again."""

    def replaced() -> bool:
        try:
            return pid not in scene.house.part(part) and bool(scene.house.main_of(part))
        except StopIteration:
            return False

    return processes.wait_until(replaced, REPLACED_SECONDS)


@drill("processes", faults="F1", expect=Expectation(recovered_s=3.0, noticed_by=("log",)))
def web_worker_killed(scene: Scene) -> Fault:
    """One of the web processes dies in the middle of its requests; gunicorn starts another."""
    pid = scene.dice.choice(scene.house.children_of("web"))
    os.kill(pid, signal.SIGKILL)
    yield
    if _is_replaced(scene, "web", pid):
        scene.prove("killed_and_replaced", part="web", pid=pid)


@drill("processes", faults="F9", expect=Expectation(recovered_s=15.0, noticed_by=("log",), is_unfelt=True))
def worker_killed(scene: Scene) -> Fault:
    """The whole Celery worker dies at once, with whatever its children were settling."""
    pid = scene.house.main_of("worker")
    os.killpg(pid, signal.SIGKILL)
    yield
    if _is_replaced(scene, "worker", pid):
        scene.prove("killed_and_replaced", part="worker", pid=pid)
