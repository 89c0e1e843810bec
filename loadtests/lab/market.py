"""What is sold to whom: shelves, wallets, coupons and the orders of one workload, all from one seed."""

import random
from dataclasses import dataclass

USERS = 1_000
COUPONS_EACH = 3
COUPON_EVERY = 5  # orders, of which one names a coupon
DISCOUNT = 1_000
SCARCE_EVERY = 20  # products, of which one has half of what will be asked for, so that "sold out" happens
POOR_EVERY = 20  # users, of which one can pay for little
POOR, RICH = 60_000, 1_000_000_000  # minor units; an order costs about 40,000
PLENTY = 1_000_000  # pieces
PRICES = range(1_000, 20_001, 100)
MOST_PIECES = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """
    Who wants what, and how fast.

    Without `orders_per_second` every customer sends the next order as soon as the last one is answered. With it order n
    is due at a fixed moment and is timed from then on, whether or not its customer was free to send it.
    """

    name: str
    has_hot_product: bool = False
    orders_per_second: float | None = None
    orders_at_most: int | None = None
    clients_at_most: int | None = None


WORKLOADS = {
    item.name: item
    for item in (
        Workload("uniform"),
        Workload("hot", has_hot_product=True),
        Workload("steady", has_hot_product=True, orders_per_second=300, orders_at_most=600),
        Workload("quiet", orders_per_second=50, orders_at_most=60, clients_at_most=1),
    )
}


def hot_product(products: int) -> int:
    """Return the product everybody wants: one in the middle, so that sorting locks neither helps nor harms it."""
    return (products + 1) // 2


@dataclass(frozen=True, slots=True)
class Line:
    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer sends; `number` is the customer's own, the lines stand as they were put into the cart."""

    number: int
    user_id: int
    coupon_id: int | None
    lines: tuple[Line, ...]

    @property
    def product_ids(self) -> list[int]:
        return [line.product_id for line in self.lines]

    @property
    def quantities(self) -> list[int]:
        return [line.quantity for line in self.lines]


@dataclass(frozen=True, slots=True)
class Market:
    """
    One workload's data.

    Shapes: stock is product_id -> (price, pieces); wallets are user_id -> balance;
    coupons are coupon_id -> (user_id, discount).
    """

    stock: dict[int, tuple[int, int]]
    wallets: dict[int, int]
    coupons: dict[int, tuple[int, int]]
    orders: list[Order]


def generate(workload: Workload, *, orders: int, products: int, seed: int) -> Market:
    """Return the market of a workload; the same arguments give the same market."""
    choose = random.Random(f"{seed}/{workload.name}")  # noqa: S311 - repeatable, not secret
    count = min(orders, workload.orders_at_most or orders)
    scarce = max(1, count * (1 + MOST_PIECES) // 2 // products)
    never_scarce = hot_product(products) if workload.has_hot_product else None
    stock = {
        number: (choose.choice(PRICES), scarce if number % SCARCE_EVERY == 0 and number != never_scarce else PLENTY)
        for number in range(1, products + 1)
    }
    wallets = {number: POOR if number % POOR_EVERY == 0 else RICH for number in range(1, USERS + 1)}
    coupons = {
        (user - 1) * COUPONS_EACH + place: (user, DISCOUNT) for user in wallets for place in range(1, COUPONS_EACH + 1)
    }
    placed = [_order(number, choose, workload, products) for number in range(1, count + 1)]
    return Market(stock, wallets, coupons, placed)


def _order(number: int, choose: random.Random, workload: Workload, products: int) -> Order:
    user_id = choose.randint(1, USERS)
    if workload.has_hot_product:
        hot = hot_product(products)
        chosen = [hot, choose.choice([number for number in range(1, products + 1) if number != hot])]
        choose.shuffle(chosen)
    else:
        chosen = choose.sample(range(1, products + 1), k=2)
    lines = tuple(Line(product_id, choose.randint(1, MOST_PIECES)) for product_id in chosen)
    has_coupon = choose.randrange(COUPON_EVERY) == 0
    coupon_id = (user_id - 1) * COUPONS_EACH + choose.randint(1, COUPONS_EACH) if has_coupon else None
    return Order(number, user_id, coupon_id, lines)
