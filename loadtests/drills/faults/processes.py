"""Processes of the shop die or freeze, and it goes on: whoever started them starts them again."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from loadtests.drills import levers
from loadtests.drills.house import parent_of
from loadtests.drills.judge import Allowance
from loadtests.drills.registry import Control, Expectation, Scene, drill
from shop.local import processes

Fault = Generator[None, None, None]
REPLACED_SECONDS = 12.0
RESERVE_STOCK = "orders.reserve_stock"
NOT_FOR_LATER = ("charge", "cancel", "balance", "list", "detail", "top", "follow")  # the rest adds to a backlog: 20 s
DEAF_SECONDS = 45.0  # the supervisor gives a silent worker 30 s, and looks each 5 s


def _prove_replaced(scene: Scene, part: str, pid: int) -> None:
    """Prove that the process is gone and the part runs again under the supervisor."""

    def is_replaced() -> bool:
        try:
            return not levers.is_alive(pid) and levers.is_alive(scene.house.main_of(part))
        except StopIteration:
            return False

    if processes.wait_until(is_replaced, REPLACED_SECONDS):
        scene.prove("replaced", part=part, pid=pid)


def _kill(scene: Scene, part: str, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    scene.note("killed", part=part, pid=pid)


@contextmanager
def _requests_held(scene: Scene) -> Iterator[None]:
    """Keep charges waiting for wallets somebody holds: the web has requests under way."""
    users = scene.dice.sample(list(scene.cast.users), 12)
    with levers.holding(scene, levers.WALLETS, users):
        scene.now_too([levers.charge(scene, user) for user in users])
        levers.blocked(scene, "shop-web", 8)
        yield


@contextmanager
def _batch_held(scene: Scene) -> Iterator[None]:
    """Keep a batch waiting for stock somebody holds: the worker is in the middle of it."""
    product = scene.dice.choice(scene.cast.products)
    with levers.holding(scene, levers.STOCK, [product]):
        scene.now_too([levers.order(scene, scene.dice.choice(scene.cast.users), product)])
        levers.blocked(scene, "shop-worker", 1)
        yield


@drill("processes", faults="F1", expect=Expectation(recovered_s=3.0, noticed_by=("log",)))
def web_worker_killed(scene: Scene) -> Fault:
    with _requests_held(scene):
        # Which process a connection went to is the kernel's choice: the other may have nothing under way.
        pid = levers.most_blocked(scene, "shop-web", scene.house.children_of("web"))
        _kill(scene, "web", pid)
    _prove_replaced(scene, "web", pid)
    yield


@drill("processes", faults="F1", expect=Expectation(recovered_s=6.0, noticed_by=("log",)))
def web_master_killed(scene: Scene) -> Fault:
    with _requests_held(scene):
        pid = scene.house.main_of("web")
        _kill(scene, "web", pid)
    _prove_replaced(scene, "web", pid)
    yield


@drill(
    "processes",
    faults="F9",
    expect=Expectation(recovered_s=15.0, noticed_by=("log",), is_unfelt=True),
    control=Control("supervision", breaks="settled"),
)
def worker_killed(scene: Scene) -> Fault:
    pid = scene.house.main_of("worker")
    with _batch_held(scene):
        os.killpg(pid, signal.SIGKILL)
        scene.note("killed", part="worker", pid=pid)
    _prove_replaced(scene, "worker", pid)
    yield


@drill("processes", faults="F8", expect=Expectation(recovered_s=8.0, noticed_by=("log",), is_unfelt=True))
def worker_child_killed(scene: Scene) -> Fault:
    with _batch_held(scene):
        pid = levers.batch_owner(scene, RESERVE_STOCK)
        if pid not in scene.house.children_of("worker"):
            raise RuntimeError(f"{pid} runs the batch and is no child of the worker")
        _kill(scene, "worker", pid)
    _prove_replaced(scene, "worker", pid)
    yield


@drill(
    "processes",
    faults="F18",
    expect=Expectation(recovered_s=3.0, noticed_by=("readiness", "log"), noticed_s=40.0, unharmed=NOT_FOR_LATER),
    hold=DEAF_SECONDS,
)
def worker_frozen(scene: Scene) -> Fault:
    pid = scene.house.main_of("worker")
    for frozen in scene.house.part("worker"):
        os.kill(frozen, signal.SIGSTOP)
    yield  # nobody thaws it: the supervisor must notice by itself and start another
    _prove_replaced(scene, "worker", pid)


@drill("processes", faults="F17", expect=Expectation(recovered_s=15.0, noticed_by=("log",), is_unfelt=True))
def beat_killed(scene: Scene) -> Fault:
    pid = scene.house.main_of("beat")
    _kill(scene, "beat", pid)
    _prove_replaced(scene, "beat", pid)
    yield


@drill(
    "processes",
    faults="F33 F37",
    expect=Expectation(
        recovered_s=12.0,
        noticed_by=("log",),
        unharmed=("charge", "balance", "list", "detail", "follow"),
        allowed=Allowance(moved_places=True),
    ),
)
def redis_killed(scene: Scene) -> Fault:
    (pid,) = scene.house.engine_pids("valkey-server")
    _kill(scene, "valkey", pid)
    if processes.wait_until(lambda: scene.house.engine_pids("valkey-server") not in ([], [pid]), REPLACED_SECONDS):
        scene.prove("replaced", part="valkey", pid=pid)
    yield


@drill(
    "processes",
    faults="F22",
    expect=Expectation(recovered_s=12.0, noticed_by=("readiness", "metrics", "log")),
    control=Control("durability", breaks="nothing_lost"),
)
def postgres_killed(scene: Scene) -> Fault:
    before = scene.house.engine_pids("postgres")
    main = next(pid for pid in before if parent_of(pid) not in before)
    _kill(scene, "postgres", main)
    for pid in before:  # at once, or the others would still write what they have in memory
        with levers.gone_already():
            os.kill(pid, signal.SIGKILL)
    if processes.wait_until(lambda: scene.house.answers(), REPLACED_SECONDS):
        scene.prove("replaced", part="postgres", pid=main)
    yield


@drill("processes", faults="F22", expect=Expectation(recovered_s=12.0, noticed_by=("log",)))
def postgres_backend_killed(scene: Scene) -> Fault:
    with scene.house.connect() as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'shop-web' ORDER BY pid")
        pid = scene.dice.choice([pid for (pid,) in rows])
    _kill(scene, "postgres", pid)
    if processes.wait_until(lambda: scene.house.answers(), REPLACED_SECONDS):
        scene.prove("replaced", part="postgres", pid=pid)
    yield
