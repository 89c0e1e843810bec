"""Workers that live but do not work are started again, and only they."""

import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from shop import connections, health
from shop.local import deafness, ports, processes, supervisor
from shop.local.supervisor import Part

AGAIN = "worker and beat start again"


class Sleeper:
    """A part that does nothing."""

    hard_stop = signal.SIGKILL

    def start(self) -> processes.Child:
        return processes.spawn([sys.executable, "-c", "import time; time.sleep(60)"], cwd=Path("/"))

    def stop(self, child: processes.Child, seconds: float) -> None:
        processes.stop(child)


@pytest.fixture
def parts() -> Iterator[list[Part]]:
    running = [Part(name, Sleeper(), 0.0) for name in ("worker", "beat", "web")]
    for part in running:
        part.start()
    yield running
    for part in running:
        part.stop(0.0)


def overdue(parts: list[Part]) -> deafness.Watch:
    """A watch that heard of the workers too long ago and is about to look again."""
    watch = deafness.Watch(parts)
    watch.vouched_at -= health.HEARTBEAT_LIMIT_SECONDS + 1
    watch.looked_at -= deafness.LOOK_SECONDS
    return watch


def names_of_the_dead(parts: list[Part]) -> list[str]:
    return [part.name for part in parts if part.child is not None and processes.has_ended(part.child)]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_workers_clock_neither_ages_nor_rejuvenates_its_heartbeat(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3_600)
    health.beat_heart()
    monkeypatch.undo()
    seen_at = health.last_heartbeat()
    assert seen_at is not None
    assert abs((datetime.now(UTC) - seen_at).total_seconds()) < 5


def test_watch_kills_worker_and_beat_when_no_task_runs(parts: list[Part], capsys: pytest.CaptureFixture[str]) -> None:
    deafness.forget_last_run()
    overdue(parts).look()
    assert AGAIN in capsys.readouterr().err
    assert processes.wait_until(lambda: names_of_the_dead(parts) == ["worker", "beat"], 5.0)


def test_watch_leaves_workers_alone_that_run_tasks(parts: list[Part], capsys: pytest.CaptureFixture[str]) -> None:
    health.beat_heart()
    overdue(parts).look()
    assert AGAIN not in capsys.readouterr().err


def test_watch_gives_new_workers_their_time(parts: list[Part], capsys: pytest.CaptureFixture[str]) -> None:
    deafness.forget_last_run()
    watch = deafness.Watch(parts)
    watch.looked_at -= deafness.LOOK_SECONDS
    watch.look()
    assert AGAIN not in capsys.readouterr().err


def test_watch_does_not_blame_workers_for_a_lost_redis(
    parts: list[Part], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = connections._client(f"redis://127.0.0.1:{ports.free_port()}/0", 0.3)
    monkeypatch.setattr(connections, "flags", lambda: nobody)
    overdue(parts).look()
    assert AGAIN not in capsys.readouterr().err


def test_part_that_cannot_be_started_again_now_is_tried_later_and_the_others_go_on(monkeypatch):
    program = mock.Mock()
    program.start.side_effect = [OSError(11, "Resource temporarily unavailable"), mock.Mock(pid=1)]
    monkeypatch.setattr("shop.local.supervisor.logs.forward", lambda *_: None)
    monkeypatch.setattr("shop.local.supervisor.processes.has_ended", lambda _child: False)
    part = Part("worker", program, 0.0)
    part.tend()
    assert (part.child, part.restart_at > time.monotonic()) == (None, True)
    part.restart_at = 0.0
    part.tend()
    assert part.child is not None


def test_a_signal_without_a_name_is_told_by_its_number():
    assert [supervisor._cause(status) for status in (-9, -40, 3)] == [
        "killed by SIGKILL",
        "killed by 40",
        "exit code 3",
    ]
