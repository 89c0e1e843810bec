"""The original report's own figures, asked by our rules: what really happened there."""

from loadtests import original_report
from loadtests.results import Finding
from loadtests.texts import say


def said(scenario: str) -> dict[str, Finding]:
    return {finding.key: finding for finding in original_report.judged(scenario).diagnosis}


def test_in_the_load_run_every_write_failed_and_nothing_else() -> None:
    run = original_report.judged("load")
    assert run.verdict.word == "FAIL"
    assert [dict(reason.values) for reason in run.verdict.reasons[:2]] == [
        {"endpoint": "order", "count": 21_686},
        {"endpoint": "charge", "count": 10_758},
    ]
    assert say(said("load")["only_these_failed"], "en") == (
        "Every one of these requests failed and nothing else: 21,686 + 10,758 = 32,444 is 15.08% of 215,033, the run's "
        "whole failure rate. Load, locks and queues explain none of it."
    )
    assert "21,686 + 10,758 = 32,444건은 215,033건의 15.08%" in say(said("load")["only_these_failed"], "ko")


def test_its_failures_are_deterministic_and_not_contention() -> None:
    dead = [item.values["endpoint"] for item in original_report.judged("load").diagnosis if item.key == "deterministic"]
    assert dead == ["order", "charge"]
    assert "Contention lets one through each time" in say(said("load")["deterministic"], "en")


def test_its_reported_read_failures_have_no_room_in_the_totals() -> None:
    assert dict(said("load")["more_failures_than_all"].values) == {"parts": 33_734, "failures": 32_427}


def test_the_peak_run_never_reached_its_rate_and_its_warning_is_k6s() -> None:
    found = said("peak")
    assert say(found["only_these_failed"], "en").startswith(
        "Every one of these requests failed and nothing else: 2,143 + 26,749 = 28,892 is 76.48% of 37,776"
    )
    assert found["warning_is_the_generators"].values == {"vus": 600}
    assert say(found["rate_not_reached"], "en") == (
        "37,776 requests are 15% of what the target rate asks for (255,000): the run drove 126 requests a second, not "
        "850."
    )
    assert say(found["vus_ceiling"], "en") == (
        "600 virtual users that wait 3.78 s for each answer can send 159 requests a second at most."
    )
    assert dict(found["more_than_all"].values) == {"parts": 42_092, "requests": 37_776}
    assert "vus_all_busy" in [reason.key for reason in original_report.judged("peak").verdict.reasons]


def test_its_endpoint_latencies_are_the_whole_runs() -> None:
    assert dict(said("load")["borrowed_latencies"].values) == {"count": 2, "avg": 114, "max": 4_800}
    assert dict(said("peak")["borrowed_latencies"].values) == {"count": 3, "avg": 3_780, "max": 18_050}


def test_in_the_stress_run_the_writes_explain_most_failures() -> None:
    values = said("stress")["these_and_others_failed"].values
    assert (values["explained"], values["failures"], values["rest"]) == (14_956, 17_297, 2_341)
