"""Redis goes away, freezes, forgets or is full: a server of somebody else's. It costs time, never money or stock."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

from loadtests.drills.engines import Engine
from loadtests.drills.house import Plan
from loadtests.drills.judge import Allowance
from loadtests.drills.registry import Control, Expectation, Scene, drill

Fault = Generator[None, None, None]
OUTSIDE = Plan(is_outside=True)
SERVED = ("charge", "balance", "list", "detail", "top", "follow")  # what needs no Redis
MOVED = Allowance(moved_places=True)
FORGOTTEN = Allowance(moved_places=True, lost_places=True)
CUT_BYTES = 4_000


def _redis(scene: Scene) -> Engine:
    if scene.house.valkey is None:
        raise RuntimeError("this drill needs a Redis of its own")
    return scene.house.valkey


@drill(
    "redis",
    faults="F33 F34",
    expect=Expectation(recovered_s=20.0, noticed_by=("readiness",), unharmed=SERVED, allowed=MOVED),
    hold=12.0,
    plan=OUTSIDE,
)
def redis_outage(scene: Scene) -> Fault:
    engine = _redis(scene)
    engine.stop(signal.SIGTERM)
    yield
    scene.prove("was_away", seconds=12)
    engine.start()


@drill(
    "redis",
    faults="F35",
    expect=Expectation(recovered_s=10.0, noticed_by=("readiness",), unharmed=SERVED, allowed=MOVED),
    hold=6.0,
    plan=OUTSIDE,
    control=Control("redis-limits", breaks="longest"),
)
def redis_frozen(scene: Scene) -> Fault:
    engine = _redis(scene)
    engine.send(signal.SIGSTOP)
    yield
    scene.prove("was_frozen", processes=len(engine.pids))
    engine.send(signal.SIGCONT)


@drill("redis", faults="F36", expect=Expectation(recovered_s=8.0, unharmed=SERVED, allowed=FORGOTTEN), plan=OUTSIDE)
def redis_flushed(scene: Scene) -> Fault:
    client = scene.house.redis(0)
    keys = sum(int(database["keys"]) for name, database in client.info("keyspace").items() if name.startswith("db"))
    client.flushall()
    if keys:
        scene.prove("forgotten", keys=keys)
    yield


@drill("redis", faults="F38", expect=Expectation(recovered_s=20.0, unharmed=SERVED, allowed=FORGOTTEN), plan=OUTSIDE)
def redis_truncated(scene: Scene) -> Fault:
    engine = _redis(scene)
    engine.stop(signal.SIGKILL)
    newest = max(Path(engine.program.data, "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
    size = newest.stat().st_size
    os.truncate(newest, max(0, size - CUT_BYTES))
    engine.start()
    scene.prove("truncated", bytes=size - newest.stat().st_size)
    yield


@drill(
    "redis",
    faults="F39",
    expect=Expectation(recovered_s=10.0, unharmed=SERVED, allowed=MOVED),
    hold=6.0,
    plan=OUTSIDE,
)
def redis_full(scene: Scene) -> Fault:
    client = scene.house.redis(0)
    client.config_set("maxmemory", "1mb")
    yield
    refused = int(client.info("errorstats").get("errorstat_OOM", {}).get("count", 0))
    client.config_set("maxmemory", "0")
    if refused:
        scene.prove("refused_writes", count=refused)
