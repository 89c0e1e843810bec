"""The report command: ranges, formats, and what they look like."""

import csv
import io
import json
from datetime import UTC, date, datetime

import pytest
from django.core.management import call_command

from orders.tests import sound_shop
from shop import db
from shop.commands import CommandFailed, Exit
from shop.management.commands.report import as_csv, as_table
from shop.reports import Days, Sheet, reports, run_report

SHEET = Sheet(
    ["product_id", "name", "revenue", "at"],
    [
        [1_000, "사과", 1_500_000, datetime(2026, 5, 1, 9, 30, tzinfo=UTC)],
        [7, "=1+1,\n", 0, None],
    ],
)


def test_every_report_is_there():
    assert set(reports()) == {"sales", "top-selling", "coupons", "ledger"}


def test_days_begin_at_midnight_of_the_shop(settings):
    settings.SHOP_TIME_ZONE = "Asia/Seoul"
    params = Days(date(2026, 5, 1), date(2026, 5, 2)).params
    assert params["from"] == datetime(2026, 4, 30, 15, tzinfo=UTC)
    assert params["to"] == datetime(2026, 5, 1, 15, tzinfo=UTC)


def test_a_table_is_aligned_for_hangul_too():
    assert as_table(SHEET).split("\n")[:2] == [
        "product_id  name      revenue  at",
        "      1000  사과    1,500,000  2026-05-01 09:30",
    ]
    assert as_table(Sheet(["a", "b"], [])) == "a  b\n(nothing)"


def test_csv_is_plain_utf8_and_runs_no_formula():
    text = as_csv(SHEET)
    assert text.startswith("product_id,name,revenue,at\n1000,사과,1500000,2026-05-01T09:30:00+00:00\n")
    assert list(csv.reader(io.StringIO(text)))[2] == ["7", "'=1+1,\n", "0", ""]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["sales", "top-selling", "coupons", "ledger"])
def test_each_report_has_the_same_rows_in_each_format(name, capsys):
    sound_shop.build()
    outputs = {}
    for form in ("table", "csv", "json"):
        call_command("report", name, "--format", form)
        outputs[form] = capsys.readouterr().out
    rows = json.loads(outputs["json"])["rows"]
    assert rows
    assert len(outputs["table"].splitlines()) == 1 + len(rows)
    in_csv = csv.DictReader(io.StringIO(outputs["csv"]))
    assert list(in_csv) == [{column: str(value) for column, value in row.items()} for row in rows]


@pytest.mark.django_db
def test_json_is_one_document_that_says_what_it_is_about(capsys):
    call_command("report", "sales", "--from", "2026-05-01", "--to", "2026-05-03", "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert document | {"rows": []} == {
        "report": "sales",
        "from": "2026-05-01",
        "to": "2026-05-03",
        "time_zone": "Asia/Seoul",
        "currency": "KRW",
        "rows": [],
    }
    assert [row["date"] for row in document["rows"]] == ["2026-05-01", "2026-05-02"]


@pytest.mark.parametrize("arguments", [["--from", "2026-05-02", "--to", "2026-05-02"], ["--limit", "0"]])
def test_an_empty_range_is_a_usage_error(arguments):
    with pytest.raises(CommandFailed) as failure:
        call_command("report", "sales", *arguments)
    assert failure.value.exit_code == Exit.USAGE


@pytest.mark.django_db
def test_the_query_count_of_a_report_is_one(django_assert_num_queries):
    with django_assert_num_queries(1):
        run_report(name="ledger", days=Days(date(2026, 5, 1), date(2026, 5, 2)), limit=1)


@pytest.mark.django_db
def test_a_database_without_the_tables_is_one_clear_line():
    db.rows("DROP TABLE catalog_dailysales")
    with pytest.raises(CommandFailed, match=r"^the database has not all tables yet: python manage\.py migrate$"):
        call_command("report", "top-selling")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "0001-01-05"], "--to 0001-01-05 is too early for a week before it"),
        (["--limit", "99999999999999999999"], "--limit must be from 1 to 1,000,000"),
    ],
)
def test_what_no_calendar_and_no_table_holds_is_a_usage_error(arguments, said):
    with pytest.raises(CommandFailed, match=said) as failed:
        call_command("report", "top-selling", *arguments)
    assert failed.value.exit_code == Exit.USAGE
