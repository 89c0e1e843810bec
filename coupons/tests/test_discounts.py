"""What a coupon takes off: exact cases, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coupons.discounts import Terms, discount

SUBTOTALS = st.integers(0, 10**12)
LOWEST = st.integers(0, 10**6)
FIXED = st.builds(
    Terms,
    discount_type=st.just("fixed"),
    discount_value=st.integers(1, 10**9),
    max_discount=st.none(),
    min_order_amount=LOWEST,
)
PERCENT = st.builds(
    Terms,
    discount_type=st.just("percent"),
    discount_value=st.integers(1, 100),
    max_discount=st.none() | st.integers(1, 10**6),
    min_order_amount=LOWEST,
)


@pytest.mark.parametrize(
    ("terms", "subtotal", "off"),
    [
        (Terms("fixed", 500, None, 0), 1_200, 500),
        (Terms("fixed", 500, None, 0), 500, 500),
        (Terms("fixed", 500, None, 0), 499, 499),
        (Terms("fixed", 500, None, 1_000), 1_000, 500),
        (Terms("fixed", 500, None, 1_000), 999, None),
        (Terms("percent", 15, None, 0), 999, 149),
        (Terms("percent", 1, None, 0), 99, 0),
        (Terms("percent", 100, None, 0), 777, 777),
        (Terms("percent", 50, 300, 0), 1_000, 300),
        (Terms("percent", 50, 300, 0), 500, 250),
        (Terms("percent", 50, 300, 600), 599, None),
    ],
)
def test_discount(terms, subtotal, off):
    assert discount(terms, subtotal) == off


@given(FIXED | PERCENT, SUBTOTALS)
def test_total_is_never_negative_and_never_raised(terms, subtotal):
    off = discount(terms, subtotal)
    assert (off is None) == (subtotal < terms.min_order_amount)
    if off is not None:
        assert 0 <= off <= subtotal
        assert off <= (terms.max_discount or off)


@given(PERCENT, SUBTOTALS)
def test_percentage_is_rounded_down_by_less_than_one_unit(terms, subtotal):
    off = discount(terms, subtotal)
    if off is not None and terms.max_discount is None:
        assert 0 <= subtotal * terms.discount_value - off * 100 < 100


@given(FIXED | PERCENT, SUBTOTALS, st.integers(0, 10**6))
def test_who_buys_more_never_gets_less_off(terms, subtotal, more):
    off = discount(terms, subtotal)
    if off is not None:
        assert (discount(terms, subtotal + more) or 0) >= off
