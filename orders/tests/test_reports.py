"""The sales report."""

from datetime import timedelta

import pytest

from orders.models import Order
from orders.tests import sound_shop
from shop.reports import Days, run_report

pytestmark = pytest.mark.django_db


def sales(first, after_last):
    sheet = run_report(name="sales", days=Days(first, after_last), limit=1)
    return [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]


def test_sales_count_each_settled_order_once_on_the_day_it_was_settled(settings):
    settings.SHOP_TIME_ZONE = "UTC"
    shop = sound_shop.build()
    today = shop.now.date()
    rows = sales(today - timedelta(days=100), today + timedelta(days=1))

    assert len(rows) == 101
    assert {row["date"]: row["paid_orders"] for row in rows if row["paid_orders"]} == {
        day: Order.objects.filter(status="paid", settled_at__date=day).count()
        for day in set(Order.objects.filter(status="paid").values_list("settled_at__date", flat=True))
    }
    paid = Order.objects.filter(status="paid")
    assert sum(row["total"] for row in rows) == sum(paid.values_list("total", flat=True))
    assert sum(row["discount"] for row in rows) == sound_shop.DISCOUNT
    assert sum(row["units"] for row in rows) == sum(paid.values_list("lines__quantity", flat=True))
    cancelled = Order.objects.filter(status="cancelled")
    assert sum(row["cancelled_orders"] for row in rows) == cancelled.count()
    assert sum(row["refunded"] for row in rows) == sum(cancelled.values_list("total", flat=True))
    assert sum(row["failed_orders"] for row in rows) == Order.objects.filter(status="failed").count()


def test_sales_days_are_the_shops_and_the_last_is_not_included(settings):
    settings.SHOP_TIME_ZONE = "UTC"
    shop = sound_shop.build()
    midnight = shop.now.replace(hour=0, minute=0, second=0, microsecond=0)
    Order.objects.exclude(pk=shop.orders["paid"]).update(settled_at=None, status="pending", refusal="", failure_code="")
    Order.objects.filter(pk=shop.orders["paid"]).update(settled_at=midnight)
    day, after, before = midnight.date(), midnight.date() + timedelta(days=1), midnight.date() - timedelta(days=1)
    assert [row["paid_orders"] for row in sales(day, after)] == [1]
    assert [row["paid_orders"] for row in sales(before, day)] == [0]
    settings.SHOP_TIME_ZONE = "America/New_York"
    assert [row["paid_orders"] for row in sales(before, after)] == [1, 0]
