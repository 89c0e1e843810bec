"""Real drills, end to end: a web process is killed and all holds; customers who forget their keys are found out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.drills import disk, history, incident, registry, season, sheet, summary
from loadtests.drills.house import House
from loadtests.drills.incident import Incident, Pace
from loadtests.drills.wire import Reply, Wire

BRISK = Pace(before_s=1.5, after_s=2.5, rate=30.0, patience_s=4.0, settle_s=20.0)

# The machine runs other tests at the same time: these drills are about being right, not about being fast.
PATIENT = {"recovered", "noticed", "longest"}


@pytest.fixture(scope="module")
def played() -> Iterator[Iterator[Incident]]:
    """Two drills in one house; the second begins when it is asked for."""
    drills = registry.chosen(["web-worker-killed", "answers-lost"])
    running = season.play(drills, seed=3, pace=BRISK, say=lambda _line: None)
    yield running
    running.close()


@pytest.fixture(scope="module")
def killed(played: Iterator[Incident]) -> Incident:
    return next(played)


@pytest.mark.xdist_group("drill")
def test_a_killed_web_process_loses_and_doubles_nothing(killed: Incident) -> None:
    broken = [sheet.said(check, "en") for check in killed.checks if not check.is_ok and check.key not in PATIENT]
    assert (broken, list(killed.findings), list(killed.audit)) == ([], [], [])
    assert [proof.key for proof in killed.proofs] == ["replaced"]
    assert "log" in killed.times.noticed
    assert killed.times.drained is not None
    assert len(killed.entries) > 90
    assert any(attempt.code == "reset" for attempt in killed.attempts)  # it was felt, and repeated with the same key


@pytest.mark.xdist_group("drill")
def test_its_sheet_tells_everything_in_both_languages(killed: Incident, tmp_path: Path) -> None:
    own = tmp_path / killed.drill.name
    own.mkdir()
    incident.write(killed, own)
    files = sheet.write(killed, own)
    assert [file.name for file in files] == ["sheet.html", "sheet.en.md", "sheet.ko.md"]
    assert history.read(own / "history.jsonl") == list(killed.entries)
    page = files[0].read_text()
    assert page.count("<svg") == 8
    assert "eyJ" not in page + (own / "history.jsonl").read_text()  # no customer's token
    for file, heading in zip(files[1:], ("## Timeline", "## 타임라인"), strict=True):
        text = file.read_text()
        assert heading in text
        (target,) = re.findall(r"\]\((.*web-worker-killed.*\.md)\)", text)
        assert (own / target).resolve().is_file()


@pytest.mark.xdist_group("drill")
def test_the_table_has_its_line(killed: Incident, tmp_path: Path) -> None:
    own = tmp_path / killed.drill.name
    own.mkdir()
    incident.write(killed, own)
    head, line, total = summary.lines([killed.summary])
    assert line.split()[:2] == ["web-worker-killed", "F1"]
    assert head.split()[:3] == ["drill", "fault", "result"]
    assert total.startswith("1 drills: 1 ")
    assert summary.read(tmp_path) == [killed.summary]
    assert [file.name for file in summary.write(tmp_path)] == ["drills.html", "drills.en.md", "drills.ko.md"]


@pytest.mark.xdist_group("drill")
def test_customers_without_their_keys_are_served_twice_and_the_drill_says_so(
    killed: Incident, played: Iterator[Incident], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Wire.ask

    async def ask_without_key(wire: Wire, *request: Any, headers: dict[str, str], **rest: Any) -> Reply:
        keyless = {name: value for name, value in headers.items() if name != "Idempotency-Key"}
        return await ask(wire, *request, headers=keyless, **rest)

    monkeypatch.setattr(Wire, "ask", ask_without_key)
    forgetful = next(played)
    assert forgetful.word == "FAIL"
    assert {"nothing_doubled", "felt"} <= {check.key for check in forgetful.checks if not check.is_ok}
    doubled = {str(finding.values["entry"]).split()[1] for finding in forgetful.findings if finding.key == "doubled"}
    assert doubled == {"charge", "order"}
    assert forgetful.audit == ()  # each of the two is sound by itself: only the customers' history tells


def test_a_fault_this_machine_does_not_allow_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(disk, "MOUNT", ("false",))
    (skipped,) = season.play(registry.chosen(["disk-full"]), seed=3, pace=BRISK, say=lambda _line: None)
    assert (skipped.word, skipped.is_as_meant) == ("SKIP", True)
    assert sheet.reasons(skipped, "en") == ["this process may not mount a tmpfs"]
    files = sheet.write(skipped, tmp_path)
    assert "**SKIP**" in files[1].read_text()
    assert summary.lines([skipped.summary])[1].endswith("this process may not mount a tmpfs")


def test_a_drill_that_breaks_off_fails_and_the_next_one_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fall_over(house: House) -> None:
        raise RuntimeError(f"nobody home in {house.directory.name}")

    monkeypatch.setattr(House, "open", fall_over)
    drills = registry.chosen(["beat-killed", "redis-outage"])
    first, second = season.play(drills, seed=3, pace=BRISK, say=lambda _line: None)
    assert (first.word, second.word) == ("FAIL", "FAIL")
    assert "RuntimeError: nobody home in house-2" in second.fault_error
    assert "RuntimeError: nobody home in house-2" in sheet.write(second, tmp_path)[1].read_text()
