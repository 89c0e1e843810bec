"""Wake-ups are lost, doubled or late, and the pipeline settles all the same: messages say nothing but "look"."""

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from loadtests.drills import levers
from loadtests.drills.house import ROOT, SHIMS, parent_of
from loadtests.drills.registry import Control, Expectation, Scene, drill
from shop.local import processes

Fault = Generator[None, None, None]
COPIES = 1_000
AHEAD_SECONDS = 7_200
STOP_SECONDS = 12.0
TURN_SECONDS = 5.0
WAITING = "SELECT count(*) FROM orders_order WHERE status IN ('pending', 'stock_reserved', 'coupon_applied')"


def _prove_waiting(scene: Scene, stolen: int) -> None:
    """Prove that orders wait now for a message that will not come."""
    with scene.house.connect() as connection:
        ((waiting,),) = connection.execute(WAITING).fetchall()
    if stolen and waiting:
        scene.prove("stolen", messages=stolen, orders=waiting)


@drill(
    "wakeups",
    faults="F10",
    expect=Expectation(recovered_s=7.0, is_unfelt=True),
    hold=6.0,
    pause=9.0,
    control=Control("sweep", breaks="recovered"),
)
def wakeups_lost(scene: Scene) -> Fault:
    thieves = levers.Thieves(scene)
    yield
    stolen = thieves.stop()
    _prove_waiting(scene, len(stolen))


@drill("wakeups", faults="F11", expect=Expectation(recovered_s=7.0, is_unfelt=True), hold=6.0, pause=6.0)
def wakeups_late(scene: Scene) -> Fault:
    thieves = levers.Thieves(scene)
    yield
    stolen = thieves.stop()
    _prove_waiting(scene, len(stolen))
    levers.put_back(scene, stolen[::-1])


@drill("wakeups", faults="F11", expect=Expectation(recovered_s=5.0, is_unfelt=True), hold=5.0)
def wakeups_doubled(scene: Scene) -> Fault:
    thieves = levers.Thieves(scene)
    processes.wait_until(lambda: len(thieves.stolen) >= 4, 4.0)
    copies = (thieves.stop() * COPIES)[:COPIES]
    scene.dice.shuffle(copies)
    levers.put_back(scene, copies)
    waiting = levers.queue_length(scene)
    if waiting > COPIES / 2:
        scene.prove("doubled", copies=len(copies), waiting=waiting)
    yield
    scene.note("queue", waiting=levers.queue_length(scene))


@drill("wakeups", faults="F12", expect=Expectation(recovered_s=5.0, is_unfelt=True), hold=11.0)
def two_sweepers(scene: Scene) -> Fault:
    celery = ("-m", "celery", "--app=config", "--quiet", "--skip-checks")
    schedule = f"--schedule={scene.house.directory / 'second-schedule'}"
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency=2")
    with (
        _another(scene, "worker", (*celery, "worker", *quiet)) as worker,
        _another(scene, "beat", (*celery, "beat", schedule, "--pidfile=")) as beat,
    ):
        yield
        # At one moment each stage may last have been drained by the shop's own worker.
        if processes.wait_until(lambda: _tasks_of(scene, worker), TURN_SECONDS) and not processes.has_ended(beat):
            scene.prove("two_of_each", worker=worker.pid, beat=beat.pid)


@drill("wakeups", faults="F48", expect=Expectation(recovered_s=5.0, is_unfelt=True), hold=11.0)
def clock_ahead(scene: Scene) -> Fault:
    celery = ("-m", "celery", "--app=config", "--quiet", "--skip-checks", "worker")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency=2")
    ahead = {"PYTHONPATH": str(SHIMS), "DRILL_CLOCK_AHEAD_SECONDS": str(AHEAD_SECONDS)}
    with _another(scene, "worker", (*celery, *quiet), **ahead):
        yield
        with scene.house.connect() as connection:
            future = "SELECT count(*) FROM orders_orderhistory WHERE at > now() + interval '1 hour'"
            ((steps,),) = connection.execute(future).fetchall()
        if steps:
            scene.prove("ahead", steps=steps)


@contextmanager
def _another(scene: Scene, part: str, command: tuple[str, ...], **environment: str) -> Iterator[processes.Child]:
    """Run another process of a part beside the shop's own, as on a second machine."""
    log = scene.house.directory / f"another-{part}.log"
    with log.open("ab") as out:
        child = processes.spawn(
            [sys.executable, *command],
            cwd=ROOT,
            env=scene.house.environment_of_a_part(part) | environment,
            output=out,
        )
    try:
        yield child
    finally:
        processes.stop(child, (signal.SIGTERM, STOP_SECONDS))


def _tasks_of(scene: Scene, worker: processes.Child) -> bool:
    """Say whether the other worker has a connection to PostgreSQL: it opens one with its first task."""
    children = [pid for pid in scene.house.part("worker") if parent_of(pid) == worker.pid]
    with scene.house.connect() as connection:
        owners = connection.execute("SELECT owner FROM shop_stagerun").fetchall()
    return bool(children) and any(int(owner.rpartition(":")[2]) in children for (owner,) in owners)
