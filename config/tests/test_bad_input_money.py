"""Weird JSON for what moves money: the answer is what API.md says, and the money moves by exactly what was accepted."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.tests import weird_json
from config.tests.client import Client
from config.tests.conftest import BALANCE, Customer, World
from config.tests.weird_json import Number, Outcome, Unreadable, bodies, fields, is_id, mostly, object_of

WALLET_LIMIT, LARGEST_CHARGE, MOST_ITEMS, MOST_PIECES = 1_000_000_000, 10_000_000, 50, 1_000
BAD_JSON, BAD_INPUT, UNKNOWN = (400, "invalid_json"), (400, "invalid_input"), (400, "unknown_field")

# --- charging --------------------------------------------------------------------------------------------------------


def charges(own: int, other: int) -> st.SearchStrategy[bytes]:
    amounts = st.integers(1, 5_000).map(str) | st.sampled_from(["1", "10000000"])
    users = st.sampled_from([str(own), str(own), "null", str(other), str(2**62)])
    pairs = fields(["balance", "Amount", "amount ", "currency", ""], amount=mostly(amounts), user_id=mostly(users))
    return bodies(mostly(object_of(pairs)))


def judged_charge(body: bytes, *, own: int, balance: int) -> tuple[Outcome, int]:
    """Return how API.md "Balance" answers a charge, and what the wallet gains."""
    try:
        document = weird_json.read(body)
    except Unreadable:
        return BAD_JSON, 0
    if not isinstance(document, dict):
        return BAD_INPUT, 0
    if document.keys() - {"amount", "user_id"}:
        return UNKNOWN, 0
    amount, user_id = document.get("amount"), document.get("user_id")
    if not (isinstance(amount, Number) and amount.is_integer(1, LARGEST_CHARGE)):
        return BAD_INPUT, 0
    if user_id is not None and not is_id(user_id):
        return BAD_INPUT, 0
    if user_id is not None and int(user_id.text) != own:
        return (403, "not_your_account"), 0
    if balance + int(amount.text) > WALLET_LIMIT:
        return (409, "balance_limit_exceeded"), 0
    return (200, ""), int(amount.text)


def test_charge_of_weird_json_is_judged_by_the_contract(client: Client, world: World) -> None:
    customer, other = world.customers(2)
    seen: Counter[Outcome] = Counter()

    @settings(max_examples=300)
    @given(body=charges(customer.user_id, other.user_id))
    def check(body: bytes) -> None:
        before = world.balance(customer)
        expected, gained = judged_charge(body, own=customer.user_id, balance=before)
        answer = client.post("/balance/charge", body, token=customer.token)
        assert (answer.outcome, world.balance(customer) - before) == (expected, gained), body
        seen[answer.outcome] += 1

    check()
    assert world.balance(other) == BALANCE
    assert all(seen[outcome] >= 5 for outcome in ((200, ""), (403, "not_your_account"), BAD_JSON, BAD_INPUT)), seen


# --- ordering --------------------------------------------------------------------------------------------------------


class Shelf:
    """Two products and one that is hidden; `prices` are those of all on offer, because a weird id may be another's."""

    def __init__(self, world: World) -> None:
        self.stock = {world.product(price=price, stock=100_000): 100_000 for price in (7, 11)}
        self.hidden = world.product(hidden=True)
        self.prices = dict(world.rows("SELECT id, price FROM catalog_product WHERE NOT is_hidden"))

    def orders(self) -> st.SearchStrategy[bytes]:
        known = [str(product_id) for product_id in self.stock]
        products = mostly(st.sampled_from([*known * 5, str(self.hidden), str(2**62)]))
        quantities = st.integers(1, 3).map(str) | st.just("1000")
        item = object_of(fields(["price", "unit_price"], product_id=products, quantity=mostly(quantities)))
        items = weird_json.array_of(item, shortest=1, longest=2) | weird_json.array_of(mostly(item), longest=3)
        many = st.just("[" + ",".join(['{"product_id":1,"quantity":1}'] * (MOST_ITEMS + 1)) + "]")
        issuances = mostly(st.just("null"), st.sampled_from(["1", str(2**62), '"1"', "0", "1.0"]))
        extra = ["total", "status", "user_id", "Items"]
        return bodies(
            mostly(object_of(fields(extra, items=mostly(items, many | weird_json.VALUES), issuance_id=issuances)))
        )

    def judged(self, body: bytes) -> tuple[Outcome, Counter[int]]:
        """Return how API.md "Orders" answers an order, and the pieces it is about."""
        try:
            document = weird_json.read(body)
        except Unreadable:
            return BAD_JSON, Counter()
        if not isinstance(document, dict):
            return BAD_INPUT, Counter()
        items, issuance_id = document.get("items"), document.get("issuance_id")
        entries = items if isinstance(items, list) and len(items) <= MOST_ITEMS else []
        lines = [entry for entry in entries if isinstance(entry, dict)]
        if document.keys() - {"items", "issuance_id"} or any(
            line.keys() - {"product_id", "quantity"} for line in lines
        ):
            return UNKNOWN, Counter()
        is_good = 0 < len(lines) == len(entries) and all(map(is_line, lines))
        if not is_good or not (issuance_id is None or is_id(issuance_id)):
            return BAD_INPUT, Counter()
        wanted = [(int(line["product_id"].text), int(line["quantity"].text)) for line in lines]
        return self.accepted_or_not(wanted, has_coupon=issuance_id is not None)

    def accepted_or_not(self, wanted: list[tuple[int, int]], *, has_coupon: bool) -> tuple[Outcome, Counter[int]]:
        pieces = Counter(dict(wanted))
        if len(pieces) < len(wanted):
            return (400, "duplicate_item"), Counter()
        if pieces.keys() - self.prices.keys():
            return (404, "product_not_found"), Counter()
        return ((409, "issuance_not_usable"), Counter()) if has_coupon else ((202, ""), pieces)

    def cost(self, pieces: Counter[int]) -> int:
        return sum(self.prices[product_id] * count for product_id, count in pieces.items())


def is_line(line: dict[str, Any]) -> bool:
    quantity = line.get("quantity")
    return is_id(line.get("product_id")) and isinstance(quantity, Number) and quantity.is_integer(1, MOST_PIECES)


def test_order_of_weird_json_is_judged_by_the_contract(client: Client, world: World) -> None:
    customer, shelf = world.customer(), Shelf(world)
    accepted: list[tuple[Any, Counter[int]]] = []
    seen: Counter[Outcome] = Counter()

    @settings(max_examples=300)
    @given(body=shelf.orders())
    def check(body: bytes) -> None:
        expected, pieces = shelf.judged(body)
        answer = client.post("/orders", body, token=customer.token)
        assert answer.outcome == expected, body
        seen[answer.outcome] += 1
        if pieces:
            assert answer.json["subtotal"] == shelf.cost(pieces)
            accepted.append((answer, pieces))

    check()
    assert_paid_exactly(world, customer, shelf, accepted)
    assert all(seen[outcome] >= 5 for outcome in ((202, ""), BAD_JSON, BAD_INPUT)), seen


def assert_paid_exactly(
    world: World, customer: Customer, shelf: Shelf, accepted: list[tuple[Any, Counter[int]]]
) -> None:
    """Every accepted order is in the shop, no other is, and money and stock moved by what was paid for."""
    assert world.one("SELECT count(*) FROM orders_order WHERE user_id = %s", customer.user_id) == len(accepted)
    sold: Counter[int] = Counter()
    for answer, pieces in accepted:
        if world.settled(customer, answer)["status"] == "paid":
            sold += pieces
    assert BALANCE - world.balance(customer) == shelf.cost(sold) > 0
    assert {product_id: pieces - sold[product_id] for product_id, pieces in shelf.stock.items()} == {
        product_id: world.stock(product_id) for product_id in shelf.stock
    }


@pytest.mark.parametrize(
    ("body", "outcome", "gained"),
    [
        (b'{"amount": 5}', (200, ""), 5),
        (b'{"\\u0061mount": 5, "user_id": null}', (200, ""), 5),
        (b'{"amount": 10000000, "user_id": 7}', (200, ""), 10_000_000),
        (b'{"amount": 5, "user_id": 8}', (403, "not_your_account"), 0),
        (b'{"amount": 999999}', (409, "balance_limit_exceeded"), 0),
        (b'{"amount": 5.0}', BAD_INPUT, 0),
        (b'{"amount": 5e0}', BAD_INPUT, 0),
        (b'{"amount": -0}', BAD_INPUT, 0),
        (b'{"amount": 10000001}', BAD_INPUT, 0),
        (b'{"amount": "5"}', BAD_INPUT, 0),
        (b'{"amount": true}', BAD_INPUT, 0),
        (b'{"amount": 5, "user_id": 0}', BAD_INPUT, 0),
        (b'{"amount": 5, "x": 1}', UNKNOWN, 0),
        (b'{"amount": 0, "x": 1}', UNKNOWN, 0),
        (b"[5]", BAD_INPUT, 0),
        (b'{"amount": 5, "amount": 5}', BAD_JSON, 0),
        (b'{"amount": 5, "\\u0061mount": 5}', BAD_JSON, 0),
        (b'{"amount": NaN}', BAD_JSON, 0),
        (b'{"amount": 1e400}', BAD_JSON, 0),
        (b'{"amount": "\\ud800"}', BAD_JSON, 0),
        (b'\xef\xbb\xbf{"amount": 5}', BAD_JSON, 0),
        (b"", BAD_JSON, 0),
    ],
)
def test_judge_of_charges_says_what_the_contract_says(body: bytes, outcome: Outcome, gained: int) -> None:
    balance = WALLET_LIMIT - 999_998 if b"999999}" in body else 0
    assert judged_charge(body, own=7, balance=balance) == (outcome, gained)
