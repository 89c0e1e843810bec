"""What a drill is, and the list of all of them."""

import random
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from loadtests.drills.background import Background
from loadtests.drills.clock import Clock
from loadtests.drills.customers import Customers
from loadtests.drills.house import House, Plan
from loadtests.drills.judge import Allowance
from loadtests.drills.proxy import Proxy
from loadtests.drills.traffic import Cast, Op


@dataclass(slots=True)
class Event:
    """Something that happened at second `at`; `key` names its text, `values` stand in it."""

    at: float
    key: str
    values: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a fault works with: the house, dice of its own, the customers, and where it says what it has done."""

    house: House
    cast: Cast
    customers: Customers
    clock: Clock
    dice: random.Random
    background: Background
    web_proxy: Proxy | None = None
    crowds: list[Future[None]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    proofs: list[Event] = field(default_factory=list)
    extra_ops: int = 0

    def note(self, key: str, **values: object) -> None:
        """Put something on the timeline."""
        self.events.append(Event(round(self.clock.now(), 2), key, values))

    def prove(self, key: str, **values: object) -> None:
        """Say that the fault was there; without any proof the drill fails, because it drilled nothing."""
        self.proofs.append(Event(round(self.clock.now(), 2), key, values))

    def now_too(self, ops: Sequence[Op]) -> None:
        """Have the customers want these as well, at once; their entries go into the history like all others."""
        self.crowds.append(self.background.start(self.customers.shop(ops)))


Fault = Callable[[Scene], Generator[None, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """
    What must come true, beyond what is held for every drill (loadtests.drills.checks).

    `recovered_s` after the fault was healed (or injected, where nobody heals it). `noticed_by`: windows that must have
    shown an alarm, within `noticed_s`. `unharmed`: kinds of requests without a single unknown outcome; `is_unfelt`: all
    of them. `longest_s`: the longest any request waited for its answer.
    """

    recovered_s: float
    noticed_by: tuple[str, ...] = ()
    noticed_s: float = 5.0
    unharmed: tuple[str, ...] = ()
    is_unfelt: bool = False
    longest_s: float = 5.5
    allowed: Allowance = field(default_factory=Allowance)


@dataclass(frozen=True, slots=True)
class Control:
    """The guard this drill tests (a name in shims/sitecustomize.py), and the check that fails without it."""

    without: str
    breaks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """
    One fault. `hold` seconds pass between injecting and healing; `pause` seconds after healing without writes, so that
    only the shop's own clock can move what was left behind.
    """

    name: str
    group: str
    faults: str
    fault: Fault
    expect: Expectation
    hold: float = 0.0
    pause: float = 0.0
    plan: Plan = field(default_factory=Plan)
    control: Control | None = None
    through_proxy: bool = False


GROUPS = ("processes", "wakeups", "clients", "locks", "postgres", "redis", "network")
_drills: dict[str, Drill] = {}


def drill(group: str, *, faults: str, expect: Expectation, **details: Any) -> Callable[[Fault], Fault]:
    """Register a fault as a drill; its name is the function's, with hyphens. `details` are fields of Drill."""

    def register(fault: Fault) -> Fault:
        name = fault.__name__.replace("_", "-")
        _drills[name] = Drill(name=name, group=group, faults=faults, fault=fault, expect=expect, **details)
        return fault

    return register


def drills() -> dict[str, Drill]:
    """Return all drills, group by group."""
    for group in GROUPS:
        import_module(f"loadtests.drills.faults.{group}")
    return dict(sorted(_drills.items(), key=lambda item: GROUPS.index(item[1].group)))


def chosen(names: Sequence[str]) -> list[Drill]:
    """Return the drills that names, groups or `all` stand for, each once. Raises KeyError for an unknown one."""
    everything = drills()
    found: dict[str, Drill] = {}
    for name in names:
        group = {key: item for key, item in everything.items() if name in ("all", item.group)}
        found |= group or {name: everything[name]}
    return list(found.values())
