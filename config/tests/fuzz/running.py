"""Run schemathesis against a shop and count what it sent."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent.parent
DOCUMENT = ROOT / "config" / "openapi.json"
SETTINGS = Path(__file__).with_name("schemathesis.toml")
PHASES = ("coverage", "fuzzing")
LONGEST_SECONDS = 840  # `make fuzz` ends within 15 minutes


@dataclass(frozen=True, slots=True)
class Persona:
    """Who sends: nobody without a token."""

    name: str
    token: str = ""
    user_id: int = 0


@dataclass(slots=True)
class Tally:
    """The cases of one or more runs, by operation and phase, and how they were answered."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.cases.total()

    def add(self, other: "Tally") -> None:
        self.cases += other.cases
        self.statuses += other.statuses
        self.findings += other.findings

    def note(self, scenario: dict[str, Any]) -> None:
        """Count what one finished scenario sent."""
        recorder = scenario["recorder"]
        for case_id in recorder.get("cases", {}):
            self.cases[recorder["label"], scenario["phase"]] += 1
            answer = (recorder["interactions"].get(case_id) or {}).get("response")
            self.statuses[recorder["label"], answer["status_code"] if answer else 0] += 1

    def lines(self) -> Iterator[str]:
        """Say how many cases each operation had, and what came back."""
        for operation in sorted({operation for operation, _phase in self.cases}):
            counts = " ".join(f"{self.cases[operation, phase]:>6}" for phase in PHASES)
            answers = sorted((status, count) for (name, status), count in self.statuses.items() if name == operation)
            yield f"{operation:<40} {counts}   {', '.join(f'{status}: {count}' for status, count in answers)}"
        yield f"{self.total} cases, {len(self.findings)} findings"


def run(base_url: str, persona: Persona, *, examples: int, seed: int, only: tuple[str, ...] = ()) -> Tally:
    """Send every operation, or those with these paths, its systematic cases and up to `examples` random ones."""
    with tempfile.TemporaryDirectory(prefix="shop-fuzz-") as reports:
        events = Path(reports) / "events.ndjson"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "--no-color", "run"]
        command += [str(DOCUMENT), f"--url={base_url}", f"--phases={','.join(PHASES)}", f"--max-examples={examples}"]
        command += [f"--seed={seed}", "--report=ndjson", f"--report-ndjson-path={events}"]
        command += [f"--include-path={path}" for path in only]
        command += [f"--header=Authorization: Bearer {persona.token}"] if persona.token else []
        done = subprocess.run(
            command,
            cwd=reports,
            env=os.environ | {"PYTHONPATH": str(ROOT), "FUZZ_USER_ID": str(persona.user_id)},
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        return _tally(events, persona, done)


def _tally(events: Path, persona: Persona, done: subprocess.CompletedProcess[str]) -> Tally:
    """Read what was sent; a run that found something, or that did not come to its end, is a finding as it stands."""
    tally, has_ended = Tally(), False
    if events.exists():
        with events.open() as lines:
            for event in map(json.loads, lines):
                if "ScenarioFinished" in event:
                    tally.note(event["ScenarioFinished"])
                has_ended |= event.get("EngineFinished", {}).get("stop_reason") == "completed"
    if done.returncode or not has_ended:
        told = f"as {persona.name}: exit code {done.returncode}\n{done.stdout[-20_000:]}{done.stderr[-2_000:]}"
        tally.findings.append(told)
    return tally
