"""What seeded campaigns look like."""

from datetime import UTC, datetime, timedelta

import pytest

from coupons.models import Campaign
from shop.seeding import Wish, seed

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_campaigns_are_open_now_for_30_days_with_the_quantity_asked_for():
    wish = Wish(counts={"coupons": 4}, options={"coupon_quantity": 12})
    seed(wish=wish, now=NOW, progress=lambda *_: None)

    campaigns = list(Campaign.objects.order_by("pk"))
    assert [campaign.discount_type for campaign in campaigns] in (["fixed", "percent"] * 2, ["percent", "fixed"] * 2)
    assert {(c.total_quantity, c.issued, c.opens_at, c.closes_at) for c in campaigns} == {
        (12, 0, NOW, NOW + timedelta(days=30))
    }
    assert all(campaign.name.endswith(("원 쿠폰", "% 할인 쿠폰")) for campaign in campaigns)
