"""The report on paper: both languages, one file, nothing loaded from elsewhere; JSON that can be read back."""

import json
import re
from pathlib import Path

import pytest

from loadtests import bottleneck, compare, reports, results
from loadtests.tests.figures import lines, second, sound
from loadtests.texts import LANGUAGES, words


def test_both_languages_say_the_same_things() -> None:
    english, korean = (words(language) for language in LANGUAGES)
    for group in english:
        assert list(english[group]) == list(korean[group])
        for key, text in english[group].items():
            assert fields(text) == fields(korean[group][key]), key


def fields(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)", text))


def test_a_report_is_written_in_every_form_and_read_back(tmp_path: Path) -> None:
    run = sound(samples=[second(float(at), oldest_order=3.0) for at in range(1, 90)])
    files = reports.write(run, tmp_path)
    assert [file.name for file in files] == ["report.html", "report.en.md", "report.ko.md", "report.json"]
    assert results.read(tmp_path) == run
    assert run.saturations[0].resource == "orders"


def test_the_page_is_self_contained_and_small(tmp_path: Path) -> None:
    run = sound(samples=[second(float(at), memory_web=100.0 + at) for at in range(1, 841)])
    page = reports.write(run, tmp_path)[0].read_text()
    assert len(page.encode()) < 1_000_000
    assert re.findall(r'(?:src|href)="', page) == []
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert "<h2>Reconciliation</h2>" in page
    assert "<h2>집계 대조</h2>" in page
    charts = page.count("<svg")
    assert charts >= 10
    assert charts % 2 == 0  # each in both languages


def test_a_long_run_shows_what_grew_between_its_first_and_its_last_tenth() -> None:
    samples = [second(float(at), memory_web=100.0 + at, connections=9.0 if at < 150 else 12.0) for at in range(1, 201)]
    text = "\n".join(str(block) for block in reports.compose(sound(samples=samples), "en").blocks)
    assert "['web (MB)', '111', '291', '+180']" in text
    assert "['PostgreSQL connections', '9', '12', '+3']" in text
    assert "['p95 ms', '60', '60', '+0']" in text
    assert "What grew" not in str(reports.compose(sound(), "en").blocks)


def test_fourteen_minutes_of_every_series_stay_below_a_megabyte(tmp_path: Path) -> None:
    names = [f"{kind}_{part}" for kind in ("cpu", "memory") for part in (*bottleneck.PARTS, "machine")]
    names += ["p99", "vus", "dropped", "unexpected", "connections", "active", "lock_waits", "orders_waiting"]
    names += ["claims_waiting", "messages", "wait_k6"]
    samples = [second(float(at), **dict.fromkeys(names, 1000.123 + at)) for at in range(1, 841)]
    files = reports.write(sound(samples=samples), tmp_path)
    assert {file.name for file in files if file.stat().st_size >= 1_000_000} == set()
    assert results.read(tmp_path).samples == samples


def test_a_lost_order_stands_at_the_top_in_both_languages(tmp_path: Path) -> None:
    run = sound()
    run = sound(lines=lines(run.parts, rows=99))
    reports.write(run, tmp_path)
    english, korean = ((tmp_path / f"report.{language}.md").read_text() for language in LANGUAGES)
    assert "**FAIL**\n\n- Order: 100 were acknowledged to customers, only 99 are in the database." in english
    assert "**FAIL**\n\n- 주문/결제: 고객에게 100건을 접수했다고 답했지만 데이터베이스에는 99건만 있습니다." in korean
    assert "| acknowledged = rows | Order | 100 | – | 99 |  | LOST |" in english


def test_the_originals_tables_stand_beside_ours() -> None:
    text = "\n".join(str(block) for block in reports.compose(sound(), "en").blocks)
    assert "'215,033', '1,000'" in text
    assert "'Order: done or refused as designed', '0%', '100.00%'" in text
    assert "'Verdict by the same rules', 'FAIL', 'PASS'" in text


def test_hostile_bodies_are_escaped(tmp_path: Path) -> None:
    run = sound(odd=[{"endpoint": "order", "status": 500, "said": "<script>alert(1)</script> | x"}])
    page, english = (file.read_text() for file in reports.write(run, tmp_path)[:2])
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert r"<script>alert(1)</script> \| x" in english


def test_a_comparison_is_written(tmp_path: Path) -> None:
    files = compare.write(sound(), sound(), tmp_path)
    assert [file.name for file in files] == ["compare.html", "compare.en.md", "compare.ko.md"]
    assert "두 실행 비교: load" in files[0].read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"format": 0}', '{"format": 1}'])
def test_what_is_not_a_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(results.Unreadable):
        results.read(tmp_path)


def test_the_json_says_its_format(tmp_path: Path) -> None:
    document = json.loads(reports.write(sound(), tmp_path)[-1].read_text())
    assert document["format"] == results.FORMAT
