"""
What the customers of a drill did and what they were told: one entry for each thing a customer wanted.

An entry is `ok` when the shop said it is done, `fail` when the shop refused (surely no effect), and `info` when the
customer cannot know: a time-out, a reset connection, a 5xx (FAULTS.md section 2).
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

WRITES = ("charge", "order", "claim", "cancel")
READS = ("list", "detail", "top", "balance", "follow")
KINDS = (*WRITES, *READS)


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    One request of an entry. `status` 0 is no answer; `code` is then why: `timeout`, `reset` or `refused`.

    `replayed`: the shop said that this is the remembered answer of an earlier attempt.
    """

    start: float
    end: float
    status: int
    code: str = ""
    replayed: bool = False
    retry_after: str = ""

    @property
    def outcome(self) -> Outcome:
        if 200 <= self.status < 300:
            return Outcome.OK
        return Outcome.FAIL if 400 <= self.status < 500 else Outcome.INFO

    @property
    def ms(self) -> float:
        return (self.end - self.start) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One thing a customer wanted; times are seconds since the drill began.

    `intent` names the effect as the database will know it (`charge 7 1003`: user 7, amount 1003), so that it is found
    there whether or not the customer heard of it. Reads have what they asked for.
    """

    number: int
    kind: str
    user: int
    key: str
    intent: str
    start: float
    end: float
    outcome: Outcome
    answer: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    attempts: tuple[Attempt, ...] = ()

    @property
    def name(self) -> str:
        """What a finding calls it."""
        return f"#{self.number} {self.intent}"


def write(entries: Iterable[Entry], file: Path) -> None:
    """Write the history, one JSON document a line."""
    with file.open("w", encoding="utf-8") as out:
        for entry in entries:
            out.write(json.dumps(dataclasses.asdict(entry), ensure_ascii=False) + "\n")


def read(file: Path) -> list[Entry]:
    """Read a history back."""
    return [_entry(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def _entry(values: dict[str, Any]) -> Entry:
    attempts = tuple(Attempt(**attempt) for attempt in values.pop("attempts"))
    return Entry(**values | {"attempts": attempts, "outcome": Outcome(values["outcome"])})
