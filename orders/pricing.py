"""What an order costs; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.queries import Offer


@dataclass(frozen=True, slots=True)
class LineRequest:
    """What a customer asks for: `quantity` pieces, 1..1,000, of one product."""

    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line at the price of this moment; `unit_price` in minor units."""

    product_id: int
    name: str
    unit_price: int
    quantity: int

    @property
    def amount(self) -> int:
        """Minor units for the whole line."""
        return self.unit_price * self.quantity


def price(lines: Sequence[LineRequest], offers: Mapping[int, Offer]) -> list[PricedLine]:
    """Return the lines with the names and prices of `offers`, in the order given."""
    return [
        PricedLine(line.product_id, offers[line.product_id].name, offers[line.product_id].price, line.quantity)
        for line in lines
    ]


def subtotal(lines: Sequence[PricedLine]) -> int:
    """Return the sum of the lines in minor units."""
    return sum(line.amount for line in lines)
