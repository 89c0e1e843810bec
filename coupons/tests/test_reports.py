"""The report of campaigns."""

from datetime import timedelta

import pytest

from coupons.models import Issuance
from orders.tests import sound_shop
from shop.reports import Days, run_report

pytestmark = pytest.mark.django_db


def coupons(shop, first, after_last):
    day = timedelta(days=1)
    sheet = run_report(
        name="coupons", days=Days(shop.now.date() + first * day, shop.now.date() + after_last * day), limit=1
    )
    return [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]


def test_coupons_are_counted_in_all_and_in_the_range(settings):
    settings.SHOP_TIME_ZONE = "UTC"
    shop = sound_shop.build()
    Issuance.objects.filter(pk=shop.issuances["issued"]).update(issued_at=shop.now - timedelta(days=5))
    names = ("issued", "issued_in_range", "used", "used_in_range", "expired")

    rows = coupons(shop, 0, 1)
    assert [row["campaign_id"] for row in rows] == shop.campaign_ids
    assert [[row[name] for name in names] for row in rows] == [[4, 3, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert [[row[name] for name in names] for row in coupons(shop, 1, 2)] == [[4, 0, 1, 0, 1], [1, 0, 1, 0, 0]]


@pytest.mark.parametrize(("first", "after_last"), [(-9, -1), (2, 9)])
def test_campaigns_that_were_not_open_in_the_range_are_left_out(settings, first, after_last):
    settings.SHOP_TIME_ZONE = "UTC"
    assert coupons(sound_shop.build(), first, after_last) == []
