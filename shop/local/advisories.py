"""
Are there known vulnerabilities in the packages that requirements.txt pins? Run by `make audit-deps`.

pip-audit says "No known vulnerabilities found" and exits with 0 also when it has looked at nothing: it skips packages
that the service does not know, and a mirror that leaves vulnerabilities out looks like a clean bill. So this counts
what was audited, and asks first about a package whose vulnerability has been known for years.
Exit codes: 0 clean, 3 vulnerable (or a skip without a good reason), 4 not audited.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS, SKIPS = ROOT / "requirements.txt", ROOT / "requirements-audit.toml"
AUDITOR = [sys.executable, "-m", "pip_audit"]
OPTIONS = [
    "--disable-pip",
    "--require-hashes",
    "--format=json",
    "--progress-spinner=off",
    "--vulnerability-service=pypi",
]
SECONDS = 300
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)
KNOWN_VULNERABLE = ("pyyaml", "5.3")  # CVE-2020-14343: code execution when it loads a file
NO_HASH = "0" * 64  # nothing is downloaded, but hashes are a sign of complete pins to pip-audit
SHORTEST_REASON = 20
CLEAN, VULNERABLE, NOT_AUDITED = 0, 3, 4


class NotAudited(Exception):
    """The service did not answer for everything; nothing can be said about the packages."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """What the service knows about one pin."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{self.package} {self.version}: {' '.join(self.ids)}, {fix}"


@dataclass(frozen=True, slots=True)
class Skip:
    """A vulnerability that somebody decided to live with, why, and until when."""

    package: str
    id: str
    reason: str
    until: date


def pins_in(text: str) -> dict[str, str]:
    """Return every package of a requirements file with its version, also those for other systems than this one."""
    return {_canonical(pin["name"]): pin["version"] for pin in PIN.finditer(text)}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(pins: dict[str, str]) -> list[Vulnerability]:
    """Return what is known about these pins. Raises NotAudited unless the service answered for each of them."""
    if not pins:
        raise NotAudited("there is no package to audit")
    document = _ask(pins)
    answered = {_canonical(item["name"]): item for item in document["dependencies"] if "vulns" in item}
    missing = [name for name, version in pins.items() if answered.get(name, {}).get("version") != version]
    if missing:
        raise NotAudited(f"{len(pins) - len(missing)} of {len(pins)} packages audited, not {_listed(missing)}")
    return [
        Vulnerability(name, item["version"], (known["id"], *known.get("aliases", ())), tuple(known["fix_versions"]))
        for name, item in answered.items()
        for known in item["vulns"]
    ]


def _ask(pins: dict[str, str]) -> dict[str, Any]:
    """Run pip-audit on the pins and return its report. Raises NotAudited."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "requirements.txt"
        file.write_text("".join(f"{name}=={version} --hash=sha256:{NO_HASH}\n" for name, version in pins.items()))
        command = [*AUDITOR, *OPTIONS, "--requirement", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAudited(str(error)) from error
    try:
        return dict(json.loads(done.stdout))
    except ValueError as error:
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NotAudited(f"pip-audit ended with {done.returncode}: {words[-1]}") from error


def check_service() -> None:
    """Raise NotAudited unless the service knows a vulnerability that it must know."""
    name, version = KNOWN_VULNERABLE
    if not audit({name: version}):
        raise NotAudited(f"the service knows nothing against {name} {version}: what it says of others is worth nothing")


def read_skips(text: str) -> list[Skip]:
    """Return the skips of requirements-audit.toml. Raises ValueError for one that is not explained."""
    skips = [Skip(**entry) for entry in tomllib.loads(text).get("skip", [])]
    for skip in skips:
        if len(skip.reason.strip()) < SHORTEST_REASON:
            raise ValueError(f"{skip.id}: the reason to skip it is missing or too short")
    return skips


def faults(found: Iterable[Vulnerability], skips: list[Skip], *, today: date) -> list[str]:
    """Return what is wrong: vulnerabilities nobody skipped, skips that have run out or match nothing."""
    found = list(found)
    wrong = [str(item) for item in found if not any(_covers(skip, item) and skip.until >= today for skip in skips)]
    for skip in skips:
        if not any(_covers(skip, item) for item in found):
            wrong.append(f"{skip.package} {skip.id}: nothing to skip any more, remove it from {SKIPS.name}")
    return wrong


def _covers(skip: Skip, item: Vulnerability) -> bool:
    return _canonical(skip.package) == item.package and skip.id in item.ids


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def main() -> int:
    pins = pins_in(REQUIREMENTS.read_text())
    try:
        skips = read_skips(SKIPS.read_text())
        check_service()
        wrong = faults(audit(pins), skips, today=datetime.now(UTC).date())
    except NotAudited as error:
        sys.stderr.write(f"not audited: {error}\n")
        return NOT_AUDITED
    except (ValueError, TypeError) as error:
        sys.stderr.write(f"{SKIPS.name}: {error}\n")
        return VULNERABLE
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    sys.stdout.write(f"{len(pins)} packages audited, {len(wrong)} faults, {len(skips)} skipped with a reason\n")
    return VULNERABLE if wrong else CLEAN


if __name__ == "__main__":
    sys.exit(main())
