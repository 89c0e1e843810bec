"""The report of the ledger."""

from datetime import timedelta

import pytest
from django.db.models import Sum

from balance.models import Transfer, Wallet
from orders.tests import sound_shop
from shop.reports import Days, run_report

pytestmark = pytest.mark.django_db


def ledger(first, after_last):
    sheet = run_report(name="ledger", days=Days(first, after_last), limit=1)
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    return {(row["by"], row["kind"]): row for row in rows}


@pytest.fixture
def today(settings):
    settings.SHOP_TIME_ZONE = "UTC"
    return sound_shop.build().now.date()


def test_ledger_sums_are_those_of_the_transfers_and_debits_equal_credits(today):
    rows = ledger(today - timedelta(days=1_000), today + timedelta(days=1))

    assert list(rows)[-1] == ("total", "")
    for kind in ("charge", "payment", "refund"):
        amount = Transfer.objects.filter(kind=kind).aggregate(sum=Sum("amount"))["sum"]
        assert (rows["transfer", kind]["debits"], rows["transfer", kind]["credits"]) == (amount, amount)
    wallets = rows["account", "wallet"]
    assert wallets["balance"] == wallets["credits"] - wallets["debits"]
    assert wallets["balance"] == Wallet.objects.aggregate(sum=Sum("balance"))["sum"]
    assert (
        rows["total", ""]["debits"] == rows["total", ""]["credits"] == Transfer.objects.aggregate(s=Sum("amount"))["s"]
    )
    assert rows["total", ""]["balance"] == 0


def test_ledger_moves_only_what_the_days_moved_but_balances_hold_all_until_then(today):
    before = ledger(today - timedelta(days=1_000), today)["account", "wallet"]
    of_today = ledger(today, today + timedelta(days=1))["account", "wallet"]
    assert of_today["debits"] > 0
    assert of_today["balance"] == before["balance"] + of_today["credits"] - of_today["debits"]
    assert set(ledger(today - timedelta(days=2_000), today - timedelta(days=1_000))) == {("total", "")}
