"""Campaigns that are open now, and the three of the demo shop."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

from coupons.models import Campaign, DiscountType
from shop import db
from shop.seeding import Chunk, Demo, Subject, add_subject, fills, fills_demo

T = TypeVar("T")
AMOUNTS_OFF = [1_000, 2_000, 3_000, 5_000, 10_000]
PER_CENTS_OFF = [5, 10, 15, 20, 30]
OCCASIONS = "신규회원 주말특가 브랜드위크 심야타임세일 첫구매 앱전용 월급날 시즌오프 단골감사 오늘만"
GOODS = "식품 생활용품 주방용품 패션 뷰티 가전 스포츠 유아용품 반려용품 문구 전상품"

add_subject(
    Subject(
        name="coupons",
        table="coupons_campaign",
        last_number="SELECT max(id) FROM coupons_campaign",
        rows_per_chunk=5_000,
    )
)


@fills("coupons")
def insert_campaigns(chunk: Chunk) -> None:
    """Insert campaigns open for 30 days from now: amounts off and per cents off in turn."""
    rolled = db.rows(
        """
        SELECT i, pg_temp.dice(i, 301), pg_temp.dice(i, 302), pg_temp.dice(i, 303)
        FROM generate_series(%(number)s, %(number)s + %(count)s - 1) i
        """,
        chunk.params,
    )
    quantity = chunk.params["coupon_quantity"]
    Campaign.objects.bulk_create(
        Campaign(
            pk=pk,
            **_terms(number % 2 == 1, value, f"{_pick(OCCASIONS.split(), occasion)} {_pick(GOODS.split(), goods)}"),
            total_quantity=quantity,
            opens_at=chunk.now,
            closes_at=chunk.now + timedelta(days=30),
        )
        for pk, (number, value, occasion, goods) in zip(chunk.ids, rolled, strict=True)
    )


def _pick(words: Sequence[T], dice: float) -> T:
    return words[int(dice * len(words))]


def _terms(is_fixed: bool, dice: float, occasion: str) -> dict[str, Any]:
    """Return a name and the discount it promises."""
    if is_fixed:
        won = _pick(AMOUNTS_OFF, dice)
        terms = {"discount_type": DiscountType.FIXED, "discount_value": won, "min_order_amount": 5 * won}
        return terms | {"name": f"{occasion} {won:,}원 쿠폰"}
    percent = _pick(PER_CENTS_OFF, dice)
    terms = {"discount_type": DiscountType.PERCENT, "discount_value": percent, "max_discount": 10_000}
    return terms | {"name": f"{occasion} {percent}% 할인 쿠폰"}


@fills_demo
def insert_demo_campaigns(demo: Demo) -> None:
    """Insert one open amount-off campaign, one open per-cent campaign and one that opens tomorrow."""
    day = timedelta(days=1)
    Campaign.objects.bulk_create(
        [
            Campaign(
                name="신규 회원 3,000원 쿠폰",
                discount_type=DiscountType.FIXED,
                discount_value=3_000,
                min_order_amount=10_000,
                total_quantity=1_000,
                opens_at=demo.now,
                closes_at=demo.now + 30 * day,
            ),
            Campaign(
                name="주말 특가 20% 할인 쿠폰",
                discount_type=DiscountType.PERCENT,
                discount_value=20,
                max_discount=10_000,
                total_quantity=100,
                opens_at=demo.now,
                closes_at=demo.now + 30 * day,
            ),
            Campaign(
                name="내일 오픈 5,000원 선착순 쿠폰",
                discount_type=DiscountType.FIXED,
                discount_value=5_000,
                total_quantity=500,
                opens_at=demo.now + day,
                closes_at=demo.now + 31 * day,
            ),
        ]
    )
