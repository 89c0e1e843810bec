"""Who gets what there is, as properties: never more than there is, first come, first served, however it is batched."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from catalog.queries import Offer
from orders.allocation import Claimed, Decision, WantedLine, allocate_funds, allocate_stock
from orders.errors import INSUFFICIENT_BALANCE, OUT_OF_STOCK, PRODUCT_UNAVAILABLE
from orders.pricing import LineRequest, price, subtotal

NOW = datetime(2026, 5, 4, tzinfo=UTC)
PRODUCTS, USERS = st.integers(1, 4), st.integers(1, 3)
LINES = st.dictionaries(PRODUCTS, st.integers(1, 5), min_size=1, max_size=4).map(
    lambda wanted: tuple(WantedLine(product_id, quantity, 0) for product_id, quantity in wanted.items())
)
STOCK = st.dictionaries(PRODUCTS, st.integers(0, 12))
BALANCES = st.dictionaries(USERS, st.integers(0, 60))


@st.composite
def queues(draw):
    """Orders in acceptance order."""
    drawn = draw(st.lists(st.tuples(USERS, st.integers(0, 40), LINES), max_size=12))
    return [
        Claimed(number, user_id, total, total, None, "pending", "", NOW, lines)
        for number, (user_id, total, lines) in enumerate(drawn, 1)
    ]


def taken_from(stock, granted):
    left = dict(stock)
    for order in granted:
        for line in order.lines:
            left[line.product_id] -= line.quantity
    return left


def in_batches(orders, size):
    return [orders[start : start + size] for start in range(0, len(orders), size)]


@given(queues(), STOCK)
def test_stock_is_never_promised_beyond_what_there_is(orders, stock):
    decision = allocate_stock(orders, stock)
    assert min(taken_from(stock, decision.granted).values(), default=0) >= 0
    assert sorted([order.order_id for order in decision.granted] + list(decision.refused)) == [
        order.order_id for order in orders
    ]


@given(queues(), STOCK)
def test_stock_goes_to_the_first_that_fits_and_who_is_refused_did_not_fit(orders, stock):
    decision = allocate_stock(orders, stock)
    left = dict(stock)
    for order in orders:
        known = all(line.product_id in left for line in order.lines)
        fits = known and all(left[line.product_id] >= line.quantity for line in order.lines)
        assert decision.refused.get(order.order_id) == (
            None if fits else OUT_OF_STOCK if known else PRODUCT_UNAVAILABLE
        )
        if fits:
            left = taken_from(left, [order])


@given(queues(), STOCK, st.integers(1, 12))
def test_stock_in_batches_of_any_size_ends_the_same(orders, stock, size):
    whole, parts, left = allocate_stock(orders, stock), Decision(), stock
    for batch in in_batches(orders, size):
        part = allocate_stock(batch, left)
        left = taken_from(left, part.granted)
        parts.granted += part.granted
        parts.refused |= part.refused
    assert parts == whole


@given(queues(), STOCK)
def test_deciding_changes_neither_the_stock_nor_the_orders(orders, stock):
    before = (list(orders), dict(stock))
    allocate_stock(orders, stock)
    assert (orders, stock) == before


@given(queues(), BALANCES)
def test_wallets_pay_in_turn_and_never_more_than_they_hold(orders, balances):
    decision, after = allocate_funds(orders, balances)
    left = dict(balances)
    for order in orders:
        pays = left.get(order.user_id, 0) >= order.total
        assert decision.refused.get(order.order_id) == (None if pays else INSUFFICIENT_BALANCE)
        assert (order.order_id in after) == pays
        if pays:
            left[order.user_id] = left.get(order.user_id, 0) - order.total
            assert after[order.order_id] == left[order.user_id] >= 0


@given(queues(), BALANCES, st.integers(1, 12))
def test_payments_in_batches_of_any_size_end_the_same(orders, balances, size):
    parts, balances_after, left = Decision(), dict[int, int](), dict(balances)
    for batch in in_batches(orders, size):
        part, after = allocate_funds(batch, left)
        left |= {order.user_id: after[order.order_id] for order in part.granted}
        parts.granted += part.granted
        parts.refused |= part.refused
        balances_after |= after
    assert (parts, balances_after) == allocate_funds(orders, balances)


@given(st.dictionaries(PRODUCTS, st.tuples(st.integers(0, 10**9), st.integers(1, 1_000)), min_size=1))
def test_lines_are_priced_in_the_order_given_and_add_up(wanted):
    offers = {product_id: Offer(product_id, f"P{product_id}", unit) for product_id, (unit, _) in wanted.items()}
    lines = price([LineRequest(product_id, quantity) for product_id, (_, quantity) in wanted.items()], offers)
    assert [(line.product_id, line.unit_price, line.quantity) for line in lines] == [
        (product_id, unit, quantity) for product_id, (unit, quantity) in wanted.items()
    ]
    assert subtotal(lines) == sum(unit * quantity for unit, quantity in wanted.values()) >= 0
