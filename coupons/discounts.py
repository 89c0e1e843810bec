"""What a coupon takes off an order; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """A campaign's discount; money in minor units, a percentage as a whole number 1..100."""

    discount_type: str
    discount_value: int
    max_discount: int | None
    min_order_amount: int


def discount(terms: Terms, subtotal: int) -> int | None:
    """
    Return what comes off `subtotal`, at most all of it; None when the order is below the lowest amount.

    Units: minor units; a percentage is rounded down.
    Source: API.md "Coupons"; FAULTS.md O2.
    """
    if subtotal < terms.min_order_amount:
        return None
    if terms.discount_type == "fixed":
        return min(terms.discount_value, subtotal)
    off = subtotal * terms.discount_value // 100
    return off if terms.max_discount is None else min(off, terms.max_discount)
