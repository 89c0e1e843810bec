"""The network to PostgreSQL or Redis is slow or cut, while both servers are well."""

from collections.abc import Generator

from loadtests.drills.engines import Engine
from loadtests.drills.faults.redis import MOVED, OUTSIDE, SERVED
from loadtests.drills.proxy import FINE, Mode
from loadtests.drills.registry import Expectation, Scene, drill

Fault = Generator[None, None, None]


def _bad(scene: Scene, engine: Engine | None, mode: Mode) -> Fault:
    """Make one server's network bad until the fault is over."""
    if engine is None:
        raise RuntimeError("this drill needs engines of its own")
    links = len(engine.proxy.links)
    engine.network(mode)
    try:
        yield
        scene.prove("network", links=links)
    finally:
        engine.network(FINE)


@drill("network", faults="F31", expect=Expectation(recovered_s=3.0, is_unfelt=True), hold=8.0, plan=OUTSIDE)
def postgres_slow(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.postgres, Mode(delay_ms=20))


@drill(
    "network",
    faults="F21 F31",
    expect=Expectation(recovered_s=5.0, noticed_by=("readiness", "metrics")),
    hold=6.0,
    plan=OUTSIDE,
)
def postgres_cut(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.postgres, Mode(is_cut=True))


@drill("network", faults="F31", expect=Expectation(recovered_s=5.0, is_unfelt=True), hold=8.0, plan=OUTSIDE)
def redis_slow(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.valkey, Mode(delay_ms=60))


@drill(
    "network",
    faults="F31 F34",
    expect=Expectation(recovered_s=15.0, noticed_by=("readiness",), unharmed=SERVED, allowed=MOVED),
    hold=6.0,
    plan=OUTSIDE,
)
def redis_cut(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.valkey, Mode(is_cut=True))


@drill(
    "network",
    faults="F35",
    expect=Expectation(recovered_s=15.0, noticed_by=("readiness",), unharmed=SERVED, allowed=MOVED),
    hold=6.0,
    plan=OUTSIDE,
)
def redis_silent(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.valkey, Mode(is_silent=True))


@drill(
    "network",
    faults="F24",
    expect=Expectation(recovered_s=5.0, noticed_by=("readiness", "metrics"), longest_s=6.5),
    hold=8.0,
    plan=OUTSIDE,
)
def postgres_silent(scene: Scene) -> Fault:
    yield from _bad(scene, scene.house.postgres, Mode(is_silent=True))
