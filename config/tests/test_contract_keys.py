"""`Idempotency-Key` over HTTP, on every address that takes one; bad input is in test_bad_input.py."""

from dataclasses import dataclass
from typing import Any

import pytest

from config.tests.client import Answer, Client
from config.tests.conftest import BALANCE, Customer, World


@dataclass(frozen=True, slots=True)
class Case:
    """A request that changes something, one like it with another body, and one that is refused for good."""

    path: str
    body: Any
    other: Any
    refused: Any
    refusal: tuple[int, str]


@pytest.fixture(params=["charge", "order", "claim"])
def case(request: pytest.FixtureRequest, world: World) -> Case:
    def items(product_id: int, quantity: int = 1) -> Any:
        return {"items": [{"product_id": product_id, "quantity": quantity}]}

    if request.param == "charge":
        staff_only = {"amount": 5, "user_id": 2**62}
        return Case("/balance/charge", {"amount": 5}, {"amount": 6}, staff_only, (404, "user_not_found"))
    if request.param == "order":
        product_id = world.product()
        missing, refusal = items(2**62), (404, "product_not_found")
        return Case("/orders", items(product_id), items(product_id, 2), missing, refusal)
    bodies = [{"coupon_id": world.campaign(**terms)} for terms in ({}, {}, {"total_quantity": 0})]
    return Case("/coupons/issue", bodies[0], bodies[1], bodies[2], (409, "coupon_sold_out"))


def same(first: Answer, second: Answer) -> bool:
    """Whether two answers say the same, but for the id of the request."""
    told = [{**answer.json, "request_id": ""} if answer.code else answer.json for answer in (first, second)]
    headers = [[answer.headers[name] for name in ("Location", "Content-Type")] for answer in (first, second)]
    return (first.status, told[0], headers[0]) == (second.status, told[1], headers[1])


def test_same_key_and_body_is_answered_once(client: Client, world: World, case: Case) -> None:
    customer = world.customer()
    first = client.post(case.path, case.body, token=customer.token, key="k1")
    before = world.counts()
    again = client.post(case.path, case.body, token=customer.token, key="k1")
    assert first.status in (200, 202)
    assert same(first, again)
    assert (first.headers["Idempotent-Replayed"], again.headers["Idempotent-Replayed"]) == (None, "true")
    assert world.counts()[3:] == before[3:]
    assert len([row for row in charges_of(world, customer) if row != BALANCE]) == (case.path == "/balance/charge")


def charges_of(world: World, customer: Customer) -> list[int]:
    found = world.rows(
        "SELECT amount FROM balance_transfer JOIN balance_wallet ON account_id = credit_account_id WHERE user_id = %s",
        customer.user_id,
    )
    return [amount for (amount,) in found]


def test_other_body_under_the_same_key_is_refused(client: Client, world: World, case: Case) -> None:
    customer = world.customer()
    first = client.post(case.path, case.body, token=customer.token, key="k1")
    other = client.post(case.path, case.other, token=customer.token, key="k1")
    assert other.outcome == (422, "idempotency_key_reused")
    assert "Idempotent-Replayed" not in other.headers
    assert same(first, client.post(case.path, case.body, token=customer.token, key="k1"))


def test_spacing_and_order_of_the_body_do_not_matter(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product()
    spellings = (
        f'{{"items":[{{"product_id":{product_id},"quantity":1}}],"issuance_id":null}}',
        f'  {{"issuance_id" : null , "items" : [ {{ "quantity":1, "product_id" : {product_id} }} ] }}\n',
        f'{{"items":[{{"product_id":{product_id},"quantity":1}}]}}',
    )
    answers = [client.post("/orders", text.encode(), token=customer.token, key="k1") for text in spellings]
    assert len({answer.json["order_id"] for answer in answers}) == 1
    assert [answer.headers["Idempotent-Replayed"] for answer in answers] == [None, "true", "true"]


@pytest.mark.parametrize("key", ["k", "k" * 255, 'a b ~!"#', "' OR 1=1--", "%00"])
def test_any_printable_key_is_good(client: Client, world: World, key: str) -> None:
    customer = world.customer()
    for replayed in (None, "true"):
        charged = client.post("/balance/charge", {"amount": 5}, token=customer.token, key=key)
        assert (charged.json["balance"], charged.headers["Idempotent-Replayed"]) == (BALANCE + 5, replayed)


def test_refusal_for_good_is_remembered(client: Client, world: World, case: Case) -> None:
    customer = world.staff() if case.path == "/balance/charge" else world.customer()
    first = client.post(case.path, case.refused, token=customer.token, key="k1")
    assert first.outcome == case.refusal
    assert "Idempotent-Replayed" not in first.headers
    again = client.post(case.path, case.refused, token=customer.token, key="k1", Accept_Language="ko")
    assert again.outcome == case.refusal
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Content-Language"] == "ko"
    assert client.post(case.path, case.body, token=customer.token, key="k1").code == "idempotency_key_reused"


def test_refusal_is_replayed_even_when_it_would_succeed_now(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(hidden=True)
    body = {"items": [{"product_id": product_id, "quantity": 1}]}
    early = client.post("/orders", body, token=customer.token, key="k1")
    assert early.outcome == (404, "product_not_found")
    world.rows("UPDATE catalog_product SET is_hidden = false WHERE id = %s", product_id)
    again = client.post("/orders", body, token=customer.token, key="k1")
    assert same(early, again)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.post("/orders", body, token=customer.token, key="k2").status == 202


def test_cancel_is_answered_once_too(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=100)
    path = f"/orders/{world.order(customer, {product_id: 3})['order_id']}/cancel"
    first = client.post(path, token=customer.token, key="k1")
    again = client.post(path, {}, token=customer.token, key="k1")
    assert (first.status, again.status) == (200, 200)
    assert (first.json, again.headers["Idempotent-Replayed"]) == (again.json, "true")
    assert client.post(path, token=customer.token).outcome == (409, "order_not_cancellable")
    assert (world.balance(customer), world.stock(product_id)) == (BALANCE, 1_000)
