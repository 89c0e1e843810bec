"""The report of best sellers."""

from datetime import UTC, date, datetime

import pytest

from catalog.models import DailySales, Product
from shop.reports import Days, run_report
from shop.seeding import Wish, seed

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_top_selling_ranks_by_units_then_id_within_the_days():
    seed(wish=Wish(counts={"products": 4}, options={"stock": 9}), now=NOW, progress=lambda *_: None)
    first, second, third, fourth = Product.objects.order_by("pk").values_list("pk", flat=True)
    sold = [(1, first, 2), (2, first, 1), (1, second, 3), (2, third, 5), (3, fourth, 99), (1, fourth, 0)]
    for day, product_id, units in sold:
        DailySales.objects.create(date=date(2026, 5, day), product_id=product_id, units=units, revenue=10 * units)

    days = Days(date(2026, 5, 1), date(2026, 5, 3))
    sheet = run_report(name="top-selling", days=days, limit=3)
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    assert [(row["rank"], row["product_id"], row["units_sold"], row["revenue"], row["stock"]) for row in rows] == [
        (1, third, 5, 50, 9),
        (2, first, 3, 30, 9),
        (3, second, 3, 30, 9),
    ]
    assert len(run_report(name="top-selling", days=days, limit=2).rows) == 2
