"""
The plan of a run: `k6/scenarios.json` holds every default, for the k6 scripts and for this side alike.

Overrides travel to k6 as environment variables of the same names in capitals.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parent / "k6"


class BadPlan(Exception):
    """A number is out of its bounds; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A phase of a run: from second `begin` on for `seconds`, at `factor` times its rate."""

    name: str
    factor: float
    begin: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    The numbers of one run.

    `numbers` holds everything that may be overridden; `mix` the share of each endpoint; `objectives` what must hold;
    `phases` stands for ramp and steps where the rate goes up and down again.
    """

    scenario: str
    numbers: Mapping[str, float]
    mix: Mapping[str, float]
    objectives: Mapping[str, Any]
    phases: Sequence[Stretch] = ()

    def number(self, name: str) -> int:
        return int(self.numbers[name])

    @property
    def script(self) -> Path:
        return SCRIPTS / f"{self.scenario}.js"

    @property
    def seconds(self) -> float:
        return float(self.numbers["duration_s"])

    @property
    def environment(self) -> dict[str, str]:
        """What k6 gets with `-e`."""
        numbers = {name.upper(): f"{value:.10g}" for name, value in self.numbers.items()}
        return numbers | {"MIX": json.dumps(dict(self.mix)), "OBJECTIVES": json.dumps(dict(self.objectives))}

    def rate_at(self, second: float) -> float:
        """Return the planned rate at a moment of the run (k6/lib/plan.js builds the same stages)."""
        rate, ramp, steps = (self.numbers[name] for name in ("rate", "ramp_s", "steps"))
        if self.phases:
            phase = next((phase for phase in reversed(self.phases) if phase.begin <= second), self.phases[0])
            return float(max(1, round(rate * phase.factor)))
        if second < ramp:
            return rate / steps * second / ramp
        step = min(steps, 1 + math.floor((second - ramp) / self.step_seconds))
        return float(max(1, round(rate * step / steps)))

    @property
    def party(self) -> int:
        """How many customers of a rush one virtual user stands for."""
        return int(self.numbers.get("party", 1))

    @property
    def virtual_users(self) -> int:
        """How many virtual users k6 makes: of a rush one per party, whatever `vus` says."""
        return math.ceil(round(self.numbers["rate"]) / self.party) if "party" in self.numbers else self.number("vus")

    @property
    def step_seconds(self) -> float:
        return (self.seconds - self.numbers["ramp_s"]) / self.numbers["steps"]

    @property
    def planned(self) -> int:
        """How many requests the generator has to send; of a rush, how many customers."""
        if self.phases:
            return round(sum(self.rate_at(phase.begin) * phase.seconds for phase in self.phases))
        ramp, steps = self.numbers["ramp_s"], self.number("steps")
        held = sum(self.rate_at(ramp + (step + 0.5) * self.step_seconds) for step in range(steps))
        return round(self.rate_at(ramp) * ramp / 2 + held * self.step_seconds)

    def at_rate(self, rate: int) -> "Plan":
        return replace(self, numbers=dict(self.numbers) | {"rate": rate})


@cache
def book() -> dict[str, Any]:
    """Return scenarios.json."""
    return dict(json.loads((SCRIPTS / "scenarios.json").read_text(encoding="utf-8")))


def names() -> list[str]:
    return list(book()["scenarios"])


def endpoints() -> dict[str, dict[str, str]]:
    """Return method, route and path by endpoint, in the order of the reports."""
    return dict(book()["endpoints"])


def plan_for(scenario: str, overrides: Mapping[str, float], *, like: str = "") -> Plan:
    """
    Return the plan of a scenario with some numbers changed; `like` takes mix, supplies and objectives from another.

    Shapes: overrides are named as in scenarios.json; `mix.order` changes one share.
    Raises: BadPlan.
    """
    own, other = book()["scenarios"][scenario], dict(book()["scenarios"].get(like, {}))
    other.pop("party", None)  # people come together to a rush only, whoever else takes its mix
    chosen = book()["defaults"] | other | own | {name: other[name] for name in ("mix", "objectives") if name in other}
    objectives = book()["objectives"] | chosen.get("objectives", {})
    numbers = {name: value for name, value in chosen.items() if isinstance(value, int | float)}
    mix = {f"mix.{name}": 0 for name in endpoints()} | {f"mix.{name}": share for name, share in chosen["mix"].items()}
    for name in overrides:
        if name not in {**numbers, **objectives, **mix}:
            raise BadPlan(f"{name}: no such number in {scenario}; there are {', '.join({**numbers, **objectives})}")
    numbers = _following(numbers, overrides) | _picked(overrides, numbers)
    _check(numbers)
    mix |= _picked(overrides, mix)
    return Plan(
        scenario=scenario,
        numbers=numbers,
        mix={name.removeprefix("mix."): share for name, share in mix.items() if share},
        objectives=objectives | _picked(overrides, objectives),
        phases=_phases(own.get("phases", ()), float(numbers["duration_s"])),
    )


def _phases(given: Sequence[Mapping[str, Any]], duration: float) -> list[Stretch]:
    """Return the phases with their seconds stretched to the run's length (k6/lib/plan.js does the same)."""
    share = duration / sum(phase["seconds"] for phase in given) if given else 0.0
    phases, begin = [], 0.0
    for phase in given:
        seconds = phase["seconds"] * share
        phases.append(Stretch(name=phase["name"], factor=phase["factor"], begin=begin, seconds=seconds))
        begin += seconds
    return phases


def _picked(overrides: Mapping[str, float], names: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in overrides.items() if name in names}


def _following(numbers: Mapping[str, float], overrides: Mapping[str, float]) -> dict[str, float]:
    """Let a ramp shrink with its run, and VUs grow with the rate, unless they are given too."""
    seconds, rate = overrides.get("duration_s"), overrides.get("rate", 0)
    ramp = numbers["ramp_s"] if seconds is None else min(numbers["ramp_s"], seconds / 5)
    vus = max(numbers["vus"], math.ceil(numbers["vus"] / numbers["rate"] * rate))
    return dict(numbers) | {"ramp_s": ramp, "vus": vus}


def _check(numbers: Mapping[str, float]) -> None:
    for name, most in book()["limits"].items():
        if name in numbers and not 0 < numbers[name] <= most:
            raise BadPlan(f"{name} {numbers[name]:g}: more than 0 and at most {most:,}")
    if numbers["ramp_s"] >= numbers["duration_s"]:
        raise BadPlan(f"the ramp of {numbers['ramp_s']:g} s does not fit into {numbers['duration_s']:g} s")
    if numbers.get("party", 1) % 1:
        raise BadPlan(f"party {numbers['party']:g}: whole people")
    if numbers["steps"] < 1:
        raise BadPlan(f"steps {numbers['steps']:g}: at least 1")
