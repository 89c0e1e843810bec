"""Customers misbehave: double clicks, lost answers, storms of repetitions; and operators restart under load."""

import os
import signal
from collections.abc import Callable, Generator
from dataclasses import replace

from loadtests.drills import levers
from loadtests.drills.proxy import FINE, Mode
from loadtests.drills.registry import Control, Expectation, Scene, drill
from loadtests.drills.traffic import Op
from shop.local import processes

Fault = Generator[None, None, None]
CLICKS = 20
ROUNDS = 4
CROWD = 150
STOP_SECONDS = 15.0


def _clicks(scene: Scene, op: Op) -> list[Op]:
    """Return the same request, with the same key, again and again."""
    return [replace(op, number=levers.next_number(scene)) for _ in range(CLICKS)]


@drill(
    "clients",
    faults="F44",
    expect=Expectation(recovered_s=3.0),
    hold=5.0,
    control=Control("keys", breaks="nothing_doubled"),
)
def double_clicks(scene: Scene) -> Fault:
    campaign, product = scene.cast.campaigns[-1], scene.dice.choice(scene.cast.products)
    wanted: list[Callable[[int], Op]] = [
        lambda user: levers.charge(scene, user),
        lambda user: levers.order(scene, user, product),
        lambda user: levers.claim(scene, user, campaign),
    ]
    for _round in range(ROUNDS):
        for make in wanted:
            scene.now_too(_clicks(scene, make(scene.dice.choice(scene.cast.users))))
            scene.clock.wait_until(scene.clock.now() + 0.3)
    scene.prove("clicked", clicks=CLICKS, intents=ROUNDS * len(wanted))
    yield


def _web_network(scene: Scene, mode: Mode) -> None:
    if scene.web_proxy is None:
        raise RuntimeError("the customers of this drill must shop through the proxy")
    scene.background.run(scene.web_proxy.become(mode))


def _lost_answers(scene: Scene) -> int:
    return scene.web_proxy.answers_lost if scene.web_proxy else 0


@drill(
    "clients",
    faults="F2 F46",
    expect=Expectation(recovered_s=3.0),
    hold=5.0,
    control=Control("keys", breaks="nothing_doubled"),
    through_proxy=True,
)
def answers_lost(scene: Scene) -> Fault:
    _web_network(scene, Mode(loses_answers=True))
    yield
    _web_network(scene, FINE)
    scene.clock.wait_until(scene.clock.now() + 2.0)  # until those who wait before they repeat have done so
    replayed = sum(any(attempt.replayed for attempt in entry.attempts) for entry in list(scene.customers.entries))
    if replayed:
        scene.prove("replayed", lost=_lost_answers(scene), replayed=replayed)


@drill("clients", faults="F47", expect=Expectation(recovered_s=10.0), hold=3.0, through_proxy=True)
def retry_storm(scene: Scene) -> Fault:
    _web_network(scene, Mode(loses_answers=True))
    scene.customers.is_impatient = True
    scene.now_too([levers.charge(scene, scene.dice.choice(scene.cast.users)) for _ in range(CROWD)])
    yield
    scene.customers.is_impatient = False
    _web_network(scene, FINE)
    scene.prove("stormed", answers=_lost_answers(scene))


@drill("clients", faults="F3 F13", expect=Expectation(recovered_s=5.0, is_unfelt=True), hold=8.0)
def graceful_restart(scene: Scene) -> Fault:
    old = scene.house.children_of("web")
    os.kill(scene.house.main_of("web"), signal.SIGHUP)
    worker = scene.house.main_of("worker")
    os.kill(worker, signal.SIGTERM)
    yield
    are_gone = processes.wait_until(lambda: not any(map(levers.is_alive, (*old, worker))), STOP_SECONDS)
    if are_gone and scene.house.children_of("web") and scene.house.main_of("worker"):
        scene.prove("restarted", web=len(old), worker=worker)
