"""`Idempotency-Key` over HTTP: FAULTS.md B105-B116, on every address that takes one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from config.tests.client import Answer, Client
from config.tests.conftest import BALANCE, Customer, World
from shop.testing import wait_until


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


def test_key_belongs_to_one_user_and_one_address(client: Client, world: World) -> None:
    customer, other = world.customers(2)
    product_id, campaign_id = world.product(), world.campaign()
    items = [{"product_id": product_id, "quantity": 1}]
    for token in (customer.token, other.token):
        for path, body in (
            ("/balance/charge", {"amount": 5}),
            ("/orders", {"items": items}),
            ("/coupons/issue", {"coupon_id": campaign_id}),
        ):
            answer = client.post(path, body, token=token, key="shared")
            assert answer.status in (200, 202)
            assert "Idempotent-Replayed" not in answer.headers
    assert world.balance(other) >= BALANCE + 5 - 1_000


def test_no_key_means_no_memory(client: Client, world: World) -> None:
    customer = world.customer()
    for count in (1, 2):
        charged = client.post("/balance/charge", {"amount": 5}, token=customer.token)
        assert charged.json["balance"] == BALANCE + 5 * count


@pytest.mark.parametrize("key", ["", "k" * 256, "k\u00e9y", "k\xa0y"])
def test_bad_key_is_refused(client: Client, world: World, case: Case, key: str) -> None:
    customer, before = world.customer(), world.counts()
    headers = {"Idempotency-Key": key}
    refused = client.request("POST", case.path, body=case.body, token=customer.token, headers=headers)
    assert refused.outcome == (400, "invalid_input")
    assert refused.pointers == ["Idempotency-Key"]
    assert world.counts() == before


@pytest.mark.parametrize("key", ["k", "k" * 255, 'a b ~!"#', "' OR 1=1--", "%00"])
def test_any_printable_key_is_good(client: Client, world: World, key: str) -> None:
    customer = world.customer()
    for replayed in (None, "true"):
        charged = client.post("/balance/charge", {"amount": 5}, token=customer.token, key=key)
        assert (charged.json["balance"], charged.headers["Idempotent-Replayed"]) == (BALANCE + 5, replayed)


def test_refused_input_is_not_remembered(client: Client, world: World) -> None:
    customer = world.customer()
    assert client.post("/balance/charge", {"amount": 0}, token=customer.token, key="k1").status == 400
    assert client.post("/balance/charge", {"amount": 5, "x": 1}, token=customer.token, key="k1").status == 400
    corrected = client.post("/balance/charge", {"amount": 5}, token=customer.token, key="k1")
    assert (corrected.status, corrected.headers["Idempotent-Replayed"]) == (200, None)
    assert world.balance(customer) == BALANCE + 5


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


@contextmanager
def held_wallet(world: World, customer: Customer) -> Iterator[None]:
    """Hold the lock that every charge of a customer needs."""
    with psycopg.connect(world.shop.database_url) as holder:
        holder.execute("SELECT FROM balance_wallet WHERE user_id = %s FOR UPDATE", [customer.user_id])
        yield


def wait_until_blocked(world: World) -> None:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'shop-web'"
    wait_until(lambda: bool(world.one(blocked)))


def test_same_key_while_the_first_runs_is_told_to_wait(client: Client, world: World) -> None:
    customer, answers = world.customer(), []

    def charge() -> None:
        answers.append(client.post("/balance/charge", {"amount": 5}, token=customer.token, key="k1"))

    first = threading.Thread(target=charge)
    with held_wallet(world, customer):
        first.start()
        wait_until_blocked(world)
        meanwhile = client.post("/balance/charge", {"amount": 5}, token=customer.token, key="k1")
    first.join()
    assert meanwhile.outcome == (409, "idempotency_key_in_flight")
    assert int(meanwhile.headers["Retry-After"]) >= 1
    charge()
    assert [answer.headers["Idempotent-Replayed"] for answer in answers] == [None, "true"]
    assert same(*answers)
    assert world.balance(customer) == BALANCE + 5


def test_busy_answer_is_not_remembered(client: Client, world: World) -> None:
    customer, before = world.customer(), world.counts()

    def charge() -> Answer:
        headers = {"Idempotency-Key": "k1"}
        body = {"amount": 5}
        return client.request(
            "POST", "/balance/charge", body=body, token=customer.token, headers=headers, may_be_busy=True
        )

    with held_wallet(world, customer):
        busy = charge()
        assert busy.outcome == (503, "busy")
        assert int(busy.headers["Retry-After"]) >= 1
    assert (world.balance(customer), world.counts()) == (BALANCE, before)
    done = charge()
    assert (done.status, done.headers["Idempotent-Replayed"]) == (200, None)
