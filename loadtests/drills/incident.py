"""Everything one drill found out, as data."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.drills import history
from loadtests.drills.history import Attempt, Entry
from loadtests.drills.registry import Drill, Event
from loadtests.drills.times import Times, attempts_of
from loadtests.drills.watch import Sight
from loadtests.results import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """
    How a drill is run: seconds of load before and after the fault, requests a second, how long a customer repeats,
    and how long all is given to settle.
    """

    before_s: float = 4.0
    after_s: float = 9.0
    rate: float = 45.0
    patience_s: float = 25.0
    settle_s: float = 35.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the judgement; `key` names its text, `values` stand in it."""

    key: str
    is_ok: bool
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """
    `skipped` is the reason why the drill did not take place; `fault_error` why its fault could not be injected.

    `audit` are the audit's violations; `logs` the lines of each log file by its name; `sent_again` counts requests
    repeated because a kept connection had gone.
    """

    drill: Drill
    seed: int
    began_at: str
    pace: Pace
    skipped: str = ""
    seconds: float = 0.0
    entries: tuple[Entry, ...] = ()
    sight: Sight = field(default_factory=Sight)
    events: tuple[Event, ...] = ()
    proofs: tuple[Event, ...] = ()
    times: Times | None = None
    findings: tuple[Finding, ...] = ()
    audit: tuple[str, ...] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    sent_again: int = 0
    fault_error: str = ""

    @property
    def word(self) -> str:
        if self.skipped:
            return "SKIP"
        return "PASS" if all(check.is_ok for check in self.checks) else "FAIL"

    @property
    def is_as_meant(self) -> bool:
        """Say whether it ended as it should: a control must fail the check that its guard keeps."""
        control = self.drill.control
        if self.drill.plan.without and control is not None:
            return control.breaks in {check.key for check in self.checks if not check.is_ok}
        return self.word != "FAIL"

    @property
    def attempts(self) -> list[Attempt]:
        return attempts_of(self.entries)

    @property
    def outcomes(self) -> Counter[str]:
        """How many customers ended with `ok`, `fail` and `info`."""
        return Counter(str(entry.outcome) for entry in self.entries)

    @property
    def summary(self) -> dict[str, Any]:
        """The line of the table, as data."""
        times, outcomes = self.times, self.outcomes
        return {
            "name": self.drill.name,
            "group": self.drill.group,
            "faults": self.drill.faults,
            "word": self.word,
            "seed": self.seed,
            "began_at": self.began_at,
            "noticed": times.to_notice if times else None,
            "degraded": times.to_degrade if times else None,
            "recovered": times.to_recover if times else None,
            "settled": times.to_drain if times else None,
            "entries": len(self.entries),
            "unknown": outcomes["info"],
            "busy": sum(1 for attempt in self.attempts if attempt.status == 503),
            "without": self.drill.plan.without,
            "failed": [check.key for check in self.checks if not check.is_ok],
            "skipped": self.skipped,
            "seconds": self.seconds,
        }


def write(incident: Incident, directory: Path) -> None:
    """Write the summary, the customers' history and the logs of that time beside the sheet."""
    text = json.dumps(incident.summary, ensure_ascii=False, indent=2)
    (directory / "drill.json").write_text(f"{text}\n", encoding="utf-8")
    history.write(incident.entries, directory / "history.jsonl")
    for name, lines in incident.logs.items():
        (directory / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
