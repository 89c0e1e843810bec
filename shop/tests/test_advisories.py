"""The audit of our dependencies cannot pass by auditing nothing: pip-audit runs, its answers are recorded."""

import json
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shop.local import advisories, venv
from shop.testing_shop import ROOT

ANCIENT = {  # as the service words it, shortened
    "id": "PYSEC-2021-142",
    "aliases": ["CVE-2020-14343", "GHSA-8q59-q68h-6hv4"],
    "details": "Code execution when a file is loaded.",
    "fixed_in": ["5.4"],
    "published": "2021-02-09T21:15:00Z",
    "withdrawn": None,
}
FOUND = ANCIENT | {"id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2026-00001"], "fixed_in": ["2.0"]}
WORKS = {"pyyaml/5.3": [ANCIENT]}
PINS = "alpha==1.0 \\\n    --hash=sha256:00\nbeta[extra]==1.1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
KNOWN = advisories.Vulnerability("alpha", "1.0", ("CVE-2026-00001", "GHSA-aaaa-bbbb-cccc"), ("2.0",))
SKIP = """
[[skip]]
package = "alpha"
id = "CVE-2026-00001"
reason = "only its command line is affected, which nothing here runs"
until = 2999-01-01
"""

Audit = Callable[..., int]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Run the whole audit over these answers, requirements and skips; return its exit code."""

    def run(answers: dict[str, Any], *, pins: str = PINS, skips: str = "") -> int:
        for name, text in (("answers", json.dumps(answers)), ("requirements", pins), ("skips", skips)):
            (tmp_path / name).write_text(text)
        recorded = Path(__file__).with_name("recorded_advisories.py")
        monkeypatch.setattr(advisories, "AUDITOR", [sys.executable, str(recorded), str(tmp_path / "answers")])
        monkeypatch.setattr(advisories, "REQUIREMENTS", tmp_path / "requirements")
        monkeypatch.setattr(advisories, "SKIPS", tmp_path / "skips")
        return advisories.main()

    return run


def test_packages_without_known_vulnerability_pass(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(WORKS | {"alpha/1.0": [], "beta/1.1": []}) == advisories.CLEAN
    assert capsys.readouterr().out == "2 packages audited, 0 faults, 0 skipped with a reason\n"


def test_known_vulnerability_fails_and_is_named(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(WORKS | {"alpha/1.0": [FOUND], "beta/1.1": []}) == advisories.VULNERABLE
    assert capsys.readouterr().err == "alpha 1.0: CVE-2026-00001 GHSA-aaaa-bbbb-cccc, fixed in 2.0\n"


@pytest.mark.parametrize(
    ("answers", "pins", "said"),
    [
        ({}, PINS, "0 of 1 packages audited, not pyyaml"),  # as where only files are served: pip-audit itself exits 0
        (WORKS, PINS, "0 of 2 packages audited, not alpha, beta"),
        (WORKS | {"alpha/1.0": []}, PINS, "1 of 2 packages audited, not beta"),
        (WORKS | {"alpha/1.0": [], "beta/1.1": 500}, PINS, "pip-audit ended with 1: "),
        ({"pyyaml/5.3": "away"}, PINS, "pip-audit ended with 1: "),
        ({"pyyaml/5.3": None}, PINS, "the service knows nothing against pyyaml 5.3: "),  # a mirror that leaves it out
        (WORKS, "# nothing is pinned\n", "there is no package to audit"),
    ],
    ids=["unknown", "unknown pins", "one unknown", "error", "away", "silent mirror", "no package"],
)
def test_what_was_not_audited_does_not_pass(
    audit: Audit, capsys: pytest.CaptureFixture[str], answers: dict[str, Any], pins: str, said: str
) -> None:
    assert audit(answers, pins=pins) == advisories.NOT_AUDITED
    assert capsys.readouterr().err.startswith(f"not audited: {said}")


def test_auditor_that_is_missing_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "AUDITOR", ["/nowhere/pip-audit"])
    assert advisories.main() == advisories.NOT_AUDITED


def test_skip_with_a_reason_is_honoured(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(WORKS | {"alpha/1.0": [FOUND], "beta/1.1": []}, skips=SKIP) == advisories.CLEAN
    assert capsys.readouterr().out == "2 packages audited, 0 faults, 1 skipped with a reason\n"


@pytest.mark.parametrize(
    ("skips", "wrong"),
    [
        (SKIP, []),
        (SKIP.replace("2999", "2020"), [str(KNOWN)]),  # it has run out
        (SKIP.replace('"alpha"', '"beta"'), [str(KNOWN), "beta CVE-2026-00001: nothing to skip any more"]),
        (SKIP.replace("00001", "00002"), [str(KNOWN), "alpha CVE-2026-00002: nothing to skip any more"]),
    ],
    ids=["good", "run out", "another package", "another number"],
)
def test_skip_covers_what_it_names_until_it_ends(skips: str, wrong: list[str]) -> None:
    found = advisories.faults([KNOWN], advisories.read_skips(skips), today=date(2026, 1, 1))
    assert [line.partition(", remove")[0] for line in found] == wrong


@pytest.mark.parametrize("line", ["package", "id", "reason", "until"])
def test_skip_says_all_about_itself(audit: Audit, line: str) -> None:
    assert audit(WORKS, skips=re.sub(f"{line} = .*", "", SKIP)) == advisories.VULNERABLE


def test_reason_of_one_word_is_none() -> None:
    with pytest.raises(ValueError, match="too short"):
        advisories.read_skips(SKIP.replace("only its command line is affected, which nothing here runs", "fine"))


def test_every_skip_of_ours_is_explained() -> None:
    advisories.read_skips(advisories.SKIPS.read_text())


# --- what is installed is what is pinned ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text())[1:]
    assert len(entries) == len(advisories.pins_in((ROOT / name).read_text())) > 60
    assert [entry for entry in entries if "--hash=sha256:" not in entry or "==" not in entry.partition("\n")[0]] == []


def test_nothing_is_installed_without_its_hash() -> None:
    assert "--require-hashes" in venv.INSTALL
    assert "--require-hashes" in (ROOT / "Dockerfile").read_text()
    places = ["Makefile", "Dockerfile", ".ci/run", "shop/local/venv.py"]
    installs = [line for place in places for line in (ROOT / place).read_text().splitlines() if "pip install" in line]
    assert [line for line in installs if "--require-hashes" not in line] == []
