"""What each address costs in statements, exactly: a lazy relation or a chatty lookup shows here first."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.tests import building
from shop import auth, representations

pytestmark = pytest.mark.usefixtures("committed_db")


def statements(
    method: str, path: str, *, status: int, user_id: int | None = None, body: Any = None, key: str | None = None
) -> int:
    """Make one request, with nothing cached in this process, and return how many statements it sent."""
    representations._local.clear()
    headers = {} if user_id is None else {"authorization": f"Bearer {auth.access_token_for(user_id=user_id)}"}
    if key is not None:
        headers["idempotency-key"] = key
    content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    with CaptureQueriesContext(connection) as captured:
        answer = getattr(Client(), method)(path, headers=headers, **content)
    assert answer.status_code == status, answer.content
    return len(captured)


def test_the_balance_is_one_statement() -> None:
    user_id = building.make_user(balance=1_000)
    assert statements("get", f"/balance/{user_id}", user_id=user_id, status=200) == 1


@pytest.mark.parametrize("charges", [1, 3])
def test_transfers_are_one_statement(charges: int) -> None:
    user_id = building.make_user()
    for _ in range(charges):
        building.charge(user_id, 1_000)
    assert statements("get", f"/balance/{user_id}/transfers", user_id=user_id, status=200) == 1


def test_a_charge_without_a_key_is_one_statement() -> None:
    user_id = building.make_user()
    assert statements("post", "/balance/charge", user_id=user_id, body={"amount": 1}, status=200) == 1


def test_a_keyed_charge_keeps_its_answer_and_a_replay_reads_it() -> None:
    user_id = building.make_user()
    body = {"amount": 1}
    first, again = (
        statements("post", "/balance/charge", user_id=user_id, body=body, key="once", status=200) for _ in range(2)
    )
    assert first == 5  # BEGIN; the key's lock, its record and SAVEPOINT at once; the charge, the answer, COMMIT
    assert again == 3  # BEGIN, the same at once, COMMIT


@pytest.mark.parametrize("products", [1, 3])
@pytest.mark.parametrize("path", ["/products", "/products?sort=price&q=thing", "/products?page=1"])
def test_a_page_of_products_is_one_statement_and_none_once_cached(path: str, products: int) -> None:
    for _ in range(products):
        building.make_product(stock=1)
    assert statements("get", path, status=200) == 1
    assert statements("get", path, status=200) == 0


@pytest.mark.parametrize("path", ["/products/{product}", "/products/top-selling", "/coupons", "/coupons/{campaign}"])
def test_public_reads_are_one_statement(path: str) -> None:
    product, campaign = building.make_product(stock=1), building.make_campaign()
    assert statements("get", path.format(product=product, campaign=campaign), status=200) == 1


def test_a_claim_at_an_open_gate_asks_postgresql_nothing() -> None:
    campaign_id = building.make_campaign()
    first, second = building.make_user(), building.make_user()
    # The first claim builds the gate: BEGIN, campaign, holders, known ids, version, campaign, epoch, places, COMMIT.
    assert statements("post", "/coupons/issue", user_id=first, body={"coupon_id": campaign_id}, status=202) == 9
    assert statements("post", "/coupons/issue", user_id=second, body={"coupon_id": campaign_id}, status=202) == 0


@pytest.mark.parametrize("coupons", [1, 3])
def test_a_users_coupons_are_three_statements(coupons: int) -> None:
    user_id = building.make_user()
    for _ in range(coupons):
        building.coupon_of(user_id)
    building.claim(user_id, building.make_campaign())  # one still at the gate
    assert statements("get", "/coupons/mine", user_id=user_id, status=200) == 3


def test_an_issuance_is_one_statement() -> None:
    user_id = building.make_user()
    issuance_id = building.coupon_of(user_id)
    assert statements("get", f"/coupons/issuances/{issuance_id}", user_id=user_id, status=200) == 1


@pytest.mark.parametrize("lines", [1, 3])
def test_an_order_without_a_key_is_two_statements(lines: int) -> None:
    user_id = building.make_user()
    items = [{"product_id": building.make_product(stock=1), "quantity": 1} for _ in range(lines)]
    assert statements("post", "/orders", user_id=user_id, body={"items": items}, status=202) == 2


def test_a_coupon_costs_an_order_two_statements_more() -> None:
    user_id = building.make_user()
    items = [{"product_id": building.make_product(stock=1), "quantity": 1}]
    body = {"items": items, "issuance_id": building.coupon_of(user_id)}
    # Whether it is still at the gate, and whether it is usable.
    assert statements("post", "/orders", user_id=user_id, body=body, status=202) == 4


@pytest.mark.parametrize("orders", [1, 3])
def test_orders_with_lines_and_history_are_three_statements(orders: int) -> None:
    user_id = building.make_user()
    placed = [building.place(user_id, (building.make_product(stock=1), 1)) for _ in range(orders)]
    assert statements("get", "/orders", user_id=user_id, status=200) == 3
    assert statements("get", f"/orders/{placed[0]}", user_id=user_id, status=200) == 3


@pytest.mark.parametrize("lines", [1, 3])
def test_a_cancelled_order_costs_the_same_whatever_it_holds(lines: int) -> None:
    user_id = building.make_user(balance=1_000_000)
    order_id = building.place(user_id, *((building.make_product(stock=1), 1) for _ in range(lines)))
    building.settle()
    assert statements("post", f"/orders/{order_id}/cancel", user_id=user_id, body={}, status=200) == 16


def test_signing_up_is_three_statements_in_a_transaction() -> None:
    body = {"username": "somebody", "password": "a-Long-enough-1"}
    assert statements("post", "/auth/signup", body=body, status=201) == 5
    # the user, the account again once the password was right, the refresh token
    assert statements("post", "/auth/token", body=body, status=200) == 3


def test_a_lazy_relation_would_be_counted() -> None:
    from orders.models import Order  # noqa: PLC0415 - only this control reads models

    user_id = building.make_user()
    for _ in range(3):
        building.place(user_id, (building.make_product(stock=1), 1))
    with CaptureQueriesContext(connection) as captured:
        assert [len(order.lines.all()) for order in Order.objects.all()] == [1, 1, 1]
    assert len(captured) == 4
