"""Many clients at once, against real web and worker processes; the books are checked after each rush."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from config.tests.client import Answer, Client
from config.tests.conftest import BALANCE, Customer, World
from shop.testing import race, wait_until

CLIENTS = 40


@pytest.fixture(autouse=True)
def books(world: World) -> Iterator[None]:
    """Whatever rushed, money, stock, coupons and orders add up afterwards."""
    yield
    world.assert_audit_clean()


@pytest.fixture(scope="module")
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def rush(crowd: ThreadPoolExecutor, calls: Iterable[Callable[[], Answer]]) -> list[Answer]:
    """Make all calls as fast as CLIENTS clients can; return the answers in the order given."""
    return [future.result() for future in [crowd.submit(call) for call in calls]]


def outcomes(answers: Iterable[Answer]) -> Counter[tuple[int, str]]:
    return Counter(answer.outcome for answer in answers)


def order_call(client: Client, customer: Customer, *lines: tuple[int, int], **body: Any) -> Callable[[], Answer]:
    items = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines]
    return lambda: client.post("/orders", {"items": items, **body}, token=customer.token)


def test_four_hundred_customers_want_a_hundred_coupons_twice(
    client: Client, world: World, crowd: ThreadPoolExecutor
) -> None:
    customers, campaign_id = world.customers(400), world.campaign(total_quantity=100)

    def claim(customer: Customer) -> Callable[[], Answer]:
        return lambda: client.post("/coupons/issue", {"coupon_id": campaign_id}, token=customer.token)

    answers = rush(crowd, [claim(customer) for customer in customers for _ in range(2)])
    assert outcomes(answers) == {
        (202, ""): 100,
        (409, "coupon_already_issued"): 100,
        (409, "coupon_sold_out"): 600,
    }
    placed = {}
    for customer, pair in zip(customers, zip(answers[::2], answers[1::2], strict=True), strict=True):
        codes = sorted(answer.code for answer in pair)
        if "" not in codes:
            assert codes == ["coupon_sold_out"] * 2
            continue
        assert codes == ["", "coupon_already_issued"]
        (first,), (second,) = ([answer for answer in pair if bool(answer.code) == is_refusal] for is_refusal in (0, 1))
        assert second.json["issuance_id"] == first.json["issuance_id"]
        placed[customer] = first
    assert sorted(answer.json["position"] for answer in placed.values()) == list(range(1, 101))
    world.assert_settled()
    for customer, answer in placed.items():
        shown = client.get(answer.headers["Location"], token=customer.token).json
        assert (shown["status"], shown["position"]) == ("issued", answer.json["position"])
    assert world.rows("SELECT issued, total_quantity FROM coupons_campaign WHERE id = %s", campaign_id) == [(100, 100)]
    wait_until(lambda: client.get(f"/coupons/{campaign_id}").json["remaining"] == 0)


def test_last_pieces_of_a_hot_product_go_to_orders_that_get_all_their_lines(
    client: Client, world: World, crowd: ThreadPoolExecutor
) -> None:
    hot, other, customers = world.product(stock=50, price=100), world.product(price=10), world.customers(60)
    calls = [
        order_call(client, customer, *[(hot, 2), (other, 1)][:: 1 if number % 2 else -1])
        for number, customer in enumerate(customers)
    ]
    accepted = rush(crowd, calls)
    assert outcomes(accepted) == {(202, ""): 60}
    orders = [world.settled(customer, answer) for customer, answer in zip(customers, accepted, strict=True)]
    ended = Counter((order["status"], (order["failure"] or {}).get("code")) for order in orders)
    assert ended == {("paid", None): 25, ("failed", "out_of_stock"): 35}
    assert (world.stock(hot), world.stock(other)) == (0, 1_000 - 25)
    for customer, order in zip(customers, orders, strict=True):
        assert world.balance(customer) == BALANCE - (210 if order["status"] == "paid" else 0)


def test_charges_and_orders_meet_on_one_wallet(client: Client, world: World, crowd: ThreadPoolExecutor) -> None:
    customer, product_id = world.customer(), world.product(price=BALANCE // 10)
    charges = [lambda: client.post("/balance/charge", {"amount": 7}, token=customer.token)] * 30
    orders = [order_call(client, customer, (product_id, 1))] * 30
    answers = rush(crowd, [call for pair in zip(charges, orders, strict=True) for call in pair])
    assert outcomes(answers) == {(200, ""): 30, (202, ""): 30}
    ended = Counter(world.settled(customer, answer)["status"] for answer in answers[1::2])
    assert ended == {"paid": 10, "failed": 20}
    assert world.balance(customer) == 30 * 7
    pages = client.walk(f"/balance/{customer.user_id}/transfers?size=100", token=customer.token)
    transfers = [row for page in pages for row in page][::-1]
    after = 0
    for row in transfers:  # each balance is the one before plus the amount: no update was lost
        after += row["amount"]
        assert row["balance_after"] == after
    assert Counter(row["kind"] for row in transfers) == {"charge": 31, "payment": 10}


@pytest.mark.parametrize("what", ["charge", "order", "claim", "cancel"])
def test_one_key_forty_times_at_once_works_once(client: Client, world: World, what: str) -> None:
    customer, product_id, campaign_id = world.customer(), world.product(price=10), world.campaign()
    items = [{"product_id": product_id, "quantity": 1}]
    paid = world.order(customer, {product_id: 1})
    path, body = {
        "charge": ("/balance/charge", {"amount": 5}),
        "order": ("/orders", {"items": items}),
        "claim": ("/coupons/issue", {"coupon_id": campaign_id}),
        "cancel": (f"/orders/{paid['order_id']}/cancel", {}),
    }[what]
    answers = race(*[lambda: client.post(path, body, token=customer.token, key="one")] * CLIENTS)
    done = [answer for answer in answers if answer.status < 400]
    assert {answer.outcome for answer in answers if answer not in done} <= {(409, "idempotency_key_in_flight")}
    assert len({answer.body for answer in done}) == 1
    assert [answer.headers["Idempotent-Replayed"] for answer in done].count(None) == 1
    again = client.post(path, body, token=customer.token, key="one")
    assert (again.body, again.headers["Idempotent-Replayed"]) == (done[0].body, "true")
    world.assert_settled()
    effects = (
        world.one("SELECT count(*) FROM orders_order WHERE user_id = %s", customer.user_id),
        world.one("SELECT count(*) FROM coupons_issuance WHERE user_id = %s", customer.user_id),
        world.balance(customer) - BALANCE,
    )
    assert effects == {"charge": (1, 0, -5), "order": (2, 0, -20), "claim": (1, 1, -10), "cancel": (1, 0, 0)}[what]


def test_one_coupon_in_three_orders_is_spent_once(client: Client, world: World) -> None:
    for _ in range(3):
        customer, product_id = world.customer(), world.product(price=1_000)
        issuance_id = world.coupon(customer, world.campaign(discount_value=400))
        call = order_call(client, customer, (product_id, 1), issuance_id=issuance_id)
        accepted = race(*[call] * 3)
        taken = [answer for answer in accepted if answer.status == 202]
        late = [answer for answer in accepted if answer.status != 202]
        assert {answer.outcome for answer in late} <= {(409, "issuance_not_usable")}  # spent before they were accepted
        orders = [world.settled(customer, answer) for answer in taken]
        ended = Counter((order["status"], order["total"], (order["failure"] or {}).get("code")) for order in orders)
        assert ended.pop(("paid", 600, None)) == 1
        assert set(ended) <= {("failed", 1_000, "issuance_not_usable")}
        assert (world.balance(customer), world.stock(product_id)) == (BALANCE - 600, 999)


def test_cancelling_an_order_forty_times_gives_back_once(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=1_000)
    issuance_id = world.coupon(customer, world.campaign(discount_value=400))
    order = world.order(customer, {product_id: 5}, issuance_id=issuance_id)
    path = f"/orders/{order['order_id']}/cancel"
    answers = race(*[lambda: client.post(path, token=customer.token)] * CLIENTS)
    assert outcomes(answers) == {(200, ""): 1, (409, "order_not_cancellable"): CLIENTS - 1}
    assert (world.balance(customer), world.stock(product_id)) == (BALANCE, 1_000)
    shown = client.get(f"/coupons/issuances/{issuance_id}", token=customer.token).json
    assert (shown["status"], shown["order_id"]) == ("issued", None)


def test_orders_and_cancellations_of_the_same_pieces(client: Client, world: World, crowd: ThreadPoolExecutor) -> None:
    """Cancelled pieces may be sold again at once; there are never more out than there were."""
    customers, product_id = world.customers(20), world.product(stock=10, price=100)
    first = [world.order(customer, {product_id: 1}) for customer in customers[:10]]
    assert {order["status"] for order in first} == {"paid"}
    cancels = [
        (lambda path, token: lambda: client.post(path, token=token))(f"/orders/{order['order_id']}/cancel", owner.token)
        for order, owner in zip(first, customers, strict=False)
    ]
    orders = [order_call(client, customer, (product_id, 1)) for customer in customers[10:]]
    answers = rush(crowd, [call for pair in zip(cancels, orders, strict=True) for call in pair])
    assert outcomes(answers) == {(200, ""): 10, (202, ""): 10}
    settled = [world.settled(owner, answer) for owner, answer in zip(customers[10:], answers[1::2], strict=True)]
    paid = sum(order["status"] == "paid" for order in settled)
    assert {(order["failure"] or {}).get("code") for order in settled} <= {None, "out_of_stock"}
    assert world.stock(product_id) == 10 - paid
    assert sum(world.balance(customer) for customer in customers) == 20 * BALANCE - paid * 100
