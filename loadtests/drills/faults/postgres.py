"""PostgreSQL restarts, goes away, freezes, loses connections or its disk: a server of somebody else's."""

import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from loadtests.drills.engines import Engine
from loadtests.drills.house import Plan
from loadtests.drills.proxy import Link
from loadtests.drills.registry import Control, Expectation, Scene, drill

Fault = Generator[None, None, None]
OUTSIDE = Plan(is_outside=True)
CUTS = 6
FILL_STEP = 1 << 20
REFUSED = "remaining connection slots|too many clients"


def _postgres(scene: Scene) -> Engine:
    if scene.house.postgres is None:
        raise RuntimeError("this drill needs a PostgreSQL of its own")
    return scene.house.postgres


@drill("postgres", faults="F20", expect=Expectation(recovered_s=5.0), plan=OUTSIDE)
def postgres_restart(scene: Scene) -> Fault:
    engine = _postgres(scene)
    old = engine.main_pid
    engine.stop(signal.SIGINT)
    engine.start()
    scene.prove("restarted_engine", old=old, new=engine.main_pid)
    yield


@drill(
    "postgres",
    faults="F21",
    expect=Expectation(recovered_s=5.0, noticed_by=("readiness", "metrics")),
    hold=10.0,
    plan=OUTSIDE,
    control=Control("exception-map", breaks="no_500"),
)
def postgres_outage(scene: Scene) -> Fault:
    engine = _postgres(scene)
    engine.stop(signal.SIGINT)
    yield
    scene.prove("was_away", seconds=10)
    engine.start()


@drill(
    "postgres",
    faults="F24",
    expect=Expectation(recovered_s=5.0, noticed_by=("readiness", "metrics"), longest_s=6.5),
    hold=8.0,
    plan=OUTSIDE,
)
def postgres_frozen(scene: Scene) -> Fault:
    engine = _postgres(scene)
    engine.send(signal.SIGSTOP)
    yield
    scene.prove("was_frozen", processes=len(engine.pids))
    engine.send(signal.SIGCONT)


@drill("postgres", faults="F23", expect=Expectation(recovered_s=3.0), hold=5.0, plan=OUTSIDE)
def commit_cut(scene: Scene) -> Fault:
    """Some connections die just before their COMMIT arrives, others just after: the customer cannot know which."""
    engine = _postgres(scene)
    with scene.house.connect() as connection:
        cutter = _Cutter(connection)
        engine.proxy.on_request = cutter
        yield
        engine.proxy.on_request = None
    if cutter.before and cutter.after:
        scene.prove("cut", before=cutter.before, after=cutter.after)


class _Cutter:
    """Sees what goes to PostgreSQL; every fourth COMMIT meets its end, in turn before and after it is done."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.seen = self.before = self.after = 0

    def __call__(self, link: Link, chunk: bytes) -> None:
        if b"COMMIT" not in chunk:
            return
        self.seen += 1
        if self.seen % 4 or self.before + self.after >= 2 * CUTS:
            return
        if self.before <= self.after:
            self.before += 1
            by_port = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = %s"
            self.connection.execute(by_port, [link.port])
        else:
            self.after += 1
            link.loses_answer = True


@drill("postgres", faults="F28", expect=Expectation(recovered_s=5.0), hold=6.0, plan=OUTSIDE)
def connections_exhausted(scene: Scene) -> Fault:
    holders: list[psycopg.Connection[Any]] = []
    refused = 0
    with scene.house.connect() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'shop-%'"
        for _again in range(3):  # what the shop opens anew in between is cut and taken as well
            connection.execute(cut)
            refused += _take_all(scene, holders)
        yield
        if refused:
            scene.prove("taken", holders=len(holders))
    for holder in holders:
        holder.close()


def _take_all(scene: Scene, holders: list[psycopg.Connection[Any]]) -> int:
    """Open connections until PostgreSQL has none left; return 1 when it said so."""
    for _ in range(100):
        try:
            holders.append(scene.house.connect())
        except psycopg.OperationalError:
            return 1
    return 0


@drill(
    "postgres",
    faults="F29",
    expect=Expectation(recovered_s=12.0),
    hold=8.0,
    plan=Plan(is_outside=True, on_small_disk=True),
)
def disk_full(scene: Scene) -> Fault:
    engine = _postgres(scene)
    filler = Path(engine.program.data).with_name("filler")
    written = _fill(filler)
    scene.note("filled", megabytes=written >> 20)
    yield
    is_down = not scene.house.answers()
    filler.unlink()
    if not engine.pids:
        engine.start()  # whoever runs it: it stopped because it could not write its log any more
    errors = _count_in_log(engine, "No space left on device")
    if errors:
        scene.prove("was_full", errors=errors, down="yes" if is_down else "no")


def _fill(filler: Path) -> int:
    """Write until nothing fits any more; return the bytes."""
    written = 0
    with filler.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            written += out.write(b"\0" * FILL_STEP)
    return written


def _count_in_log(engine: Engine, text: str) -> int:
    return engine.log.read_text(errors="replace").count(text)
