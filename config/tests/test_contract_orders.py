"""API.md "Orders" over HTTP: what a failed order had taken is given back; bad input is in test_bad_input.py."""

from typing import Any

import pytest

from config.tests.client import Client
from config.tests.conftest import BALANCE, Customer, World

PIECES = 1_000


def items_of(**quantities: int) -> list[dict[str, int]]:
    return [{"product_id": int(name.removeprefix("p")), "quantity": count} for name, count in quantities.items()]


def steps(order: Any) -> list[str]:
    return [step["status"] for step in order["history"]]


def assert_nothing_taken(world: World, customer: Customer, *product_ids: int, issuance_id: int | None = None) -> None:
    assert world.balance(customer) == BALANCE
    assert [world.stock(product_id) for product_id in product_ids] == [PIECES] * len(product_ids)
    if issuance_id is not None:
        found = world.rows("SELECT status, used_at, order_id FROM coupons_issuance WHERE id = %s", issuance_id)
        assert found == [("issued", None, None)]


# --- the usual life -------------------------------------------------------------------------------------------------


def test_order_is_accepted_and_paid(client: Client, world: World) -> None:
    customer, first, second = world.customer(), world.product(price=300), world.product(price=50)
    items = items_of(**{f"p{second}": 4, f"p{first}": 2})
    accepted = client.post("/orders", {"items": items}, token=customer.token)
    order_id = accepted.json["order_id"]
    assert accepted.json == {
        "order_id": order_id,
        "status": "pending",
        "subtotal": 800,
        "currency": "KRW",
        "created_at": accepted.json["created_at"],
    }
    assert accepted.headers["Location"] == f"/orders/{order_id}"
    order = world.settled(customer, accepted)
    assert [step.pop("at") <= order["settled_at"] for step in order["history"]] == [True] * 4
    assert order == {
        "order_id": order_id,
        "status": "paid",
        "failure": None,
        "items": [
            {"product_id": second, "name": "Made for a test", "unit_price": 50, "quantity": 4, "amount": 200},
            {"product_id": first, "name": "Made for a test", "unit_price": 300, "quantity": 2, "amount": 600},
        ],
        "subtotal": 800,
        "discount": 0,
        "total": 800,
        "currency": "KRW",
        "issuance_id": None,
        "created_at": accepted.json["created_at"],
        "settled_at": order["settled_at"],
        "history": [
            {"status": status, "reason": ""} for status in ("pending", "stock_reserved", "coupon_applied", "paid")
        ],
    }
    assert (world.balance(customer), world.stock(first), world.stock(second)) == (BALANCE - 800, 998, 996)


def test_price_is_that_of_acceptance(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=300)
    order = world.order(customer, {product_id: 1})
    world.rows("UPDATE catalog_product SET price = 900, name = 'Renamed' WHERE id = %s", product_id)
    (line,) = client.get(f"/orders/{order['order_id']}", token=customer.token).json["items"]
    assert (line["unit_price"], line["name"]) == (300, "Made for a test")


@pytest.mark.parametrize(
    ("terms", "discount"),
    [
        ({"discount_type": "fixed", "discount_value": 700}, 700),
        ({"discount_type": "fixed", "discount_value": 99_999}, 3_003),
        ({"discount_type": "percent", "discount_value": 10}, 300),
        ({"discount_type": "percent", "discount_value": 50, "max_discount": 400}, 400),
        ({"discount_type": "percent", "discount_value": 100}, 3_003),
        ({"discount_type": "fixed", "discount_value": 700, "min_order_amount": 3_003}, 700),
    ],
)
def test_coupon_is_spent_and_taken_off(client: Client, world: World, terms: dict[str, Any], discount: int) -> None:
    customer, product_id = world.customer(), world.product(price=1_001)
    issuance_id = world.coupon(customer, world.campaign(**terms))
    order = world.order(customer, {product_id: 3}, issuance_id=issuance_id)
    assert (order["status"], order["issuance_id"]) == ("paid", issuance_id)
    assert (order["subtotal"], order["discount"], order["total"]) == (3_003, discount, 3_003 - discount)
    assert world.balance(customer) == BALANCE - 3_003 + discount
    used = client.get(f"/coupons/issuances/{issuance_id}", token=customer.token).json
    assert (used["status"], used["order_id"]) == ("used", order["order_id"])
    assert used["used_at"] is not None


def test_coupon_may_be_spent_before_it_is_recorded(client: Client, world: World) -> None:
    customer, product_id, campaign_id = world.customer(), world.product(), world.campaign(discount_value=400)
    placed = client.post("/coupons/issue", {"coupon_id": campaign_id}, token=customer.token)
    order = world.order(customer, {product_id: 1}, issuance_id=placed.json["issuance_id"])
    assert (order["status"], order["total"]) == ("paid", 600)


def test_largest_order_is_accepted(client: Client, world: World) -> None:
    customer = world.customer()
    order = world.order(customer, {world.product(price=1): 1_000 for _ in range(50)})
    assert (order["status"], order["total"], len(order["items"])) == ("paid", 50_000, 50)


# --- what makes an order fail, and that all is given back ------------------------------------------------------------


def test_too_little_stock_of_one_product_fails_the_order(client: Client, world: World) -> None:
    customer, plenty, few = world.customer(), world.product(), world.product(stock=2)
    order = world.order(customer, {plenty: 1, few: 3})
    assert (order["status"], order["failure"]["code"]) == ("failed", "out_of_stock")
    assert steps(order) == ["pending", "failed"]
    assert world.stock(few) == 2
    assert_nothing_taken(world, customer, plenty)
    assert world.one("SELECT count(*) FROM catalog_stockmovement WHERE order_id = %s", order["order_id"]) == 0


def test_too_little_balance_gives_stock_and_coupon_back(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=BALANCE)
    issuance_id = world.coupon(customer, world.campaign(discount_value=500))
    order = world.order(customer, {product_id: 2}, issuance_id=issuance_id)
    assert (order["status"], order["failure"]["code"]) == ("failed", "insufficient_balance")
    assert steps(order) == ["pending", "stock_reserved", "coupon_applied", "failed"]
    assert_nothing_taken(world, customer, product_id, issuance_id=issuance_id)
    again = world.order(customer, {product_id: 1}, issuance_id=issuance_id)
    assert (again["status"], again["total"]) == ("paid", BALANCE - 500)


def test_order_below_the_coupons_lowest_amount_gives_stock_back(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=1_000)
    issuance_id = world.coupon(customer, world.campaign(min_order_amount=2_001))
    order = world.order(customer, {product_id: 2}, issuance_id=issuance_id)
    assert (order["status"], order["failure"]["code"]) == ("failed", "issuance_not_usable")
    assert steps(order) == ["pending", "stock_reserved", "failed"]
    assert_nothing_taken(world, customer, product_id, issuance_id=issuance_id)


def test_product_taken_off_after_acceptance_fails_the_order(client: Client, world: World) -> None:
    """The row lock of the stock keeps the pipeline waiting until the product has gone."""
    customer, product_id = world.customer(), world.product()
    with world.database.transaction():
        world.rows("SELECT FROM catalog_stock WHERE product_id = %s FOR UPDATE", product_id)
        accepted = client.post("/orders", {"items": items_of(**{f"p{product_id}": 1})}, token=customer.token)
        world.rows("UPDATE catalog_product SET is_hidden = true WHERE id = %s", product_id)
    order = world.settled(customer, accepted)
    assert (order["status"], order["failure"]["code"]) == ("failed", "product_unavailable")
    assert_nothing_taken(world, customer, product_id)


def test_failure_is_told_in_the_callers_language(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(stock=0)
    path = f"/orders/{world.order(customer, {product_id: 1})['order_id']}"
    english = client.get(path, token=customer.token).json["failure"]
    korean = client.get(path, token=customer.token, Accept_Language="ko").json["failure"]
    assert english["code"] == korean["code"] == "out_of_stock"
    assert english["detail"].isascii()
    assert any("가" <= letter <= "힣" for letter in korean["detail"])


# --- seeing and cancelling ------------------------------------------------------------------------------------------


def test_cancelling_gives_everything_back(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=1_000)
    issuance_id = world.coupon(customer, world.campaign(discount_value=300))
    order = world.order(customer, {product_id: 4}, issuance_id=issuance_id)
    assert (world.balance(customer), world.stock(product_id)) == (BALANCE - 3_700, PIECES - 4)
    cancelled = client.post(f"/orders/{order['order_id']}/cancel", token=customer.token)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert steps(cancelled.json) == ["pending", "stock_reserved", "coupon_applied", "paid", "cancelled"]
    assert cancelled.json["total"] == 3_700
    assert_nothing_taken(world, customer, product_id, issuance_id=issuance_id)
    again = client.post(f"/orders/{order['order_id']}/cancel", token=customer.token)
    assert again.outcome == (409, "order_not_cancellable")
    assert_nothing_taken(world, customer, product_id, issuance_id=issuance_id)
    assert world.order(customer, {product_id: 1}, issuance_id=issuance_id)["total"] == 700


def test_only_a_paid_order_can_be_cancelled(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product()
    failed = world.order(customer, {product_id: 1_000, world.product(stock=0): 1})
    refused = client.post(f"/orders/{failed['order_id']}/cancel", token=customer.token)
    assert refused.outcome == (409, "order_not_cancellable")
    with world.database.transaction():
        world.rows("SELECT FROM catalog_stock WHERE product_id = %s FOR UPDATE", product_id)
        accepted = client.post("/orders", {"items": items_of(**{f"p{product_id}": 1})}, token=customer.token)
        pending = client.post(f"{accepted.headers['Location']}/cancel", token=customer.token)
    assert pending.outcome == (409, "order_not_cancellable")
    assert world.settled(customer, accepted)["status"] == "paid"
    assert (world.balance(customer), world.stock(product_id)) == (BALANCE - 1_000, PIECES - 1)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"reason": "x"}, (400, "unknown_field")),
        ([], (400, "invalid_input")),
        (b"null", (400, "invalid_input")),
        (b"{", (400, "invalid_json")),
    ],
)
def test_cancel_takes_no_body_or_an_empty_one(
    client: Client, world: World, body: Any, outcome: tuple[int, str]
) -> None:
    customer, product_id = world.customer(), world.product()
    path = f"/orders/{world.order(customer, {product_id: 1})['order_id']}/cancel"
    assert client.post(path, body, token=customer.token).outcome == outcome
    assert client.get(path.removesuffix("/cancel"), token=customer.token).json["status"] == "paid"
    assert client.post(path, {}, token=customer.token).status == 200


def test_order_of_somebody_else_is_not_there(client: Client, world: World) -> None:
    owner, other, staff = world.customer(), world.customer(), world.staff()
    order = world.order(owner, {world.product(): 1})
    for caller in (other, staff):
        for order_id in (order["order_id"], 2**62, 0):
            assert client.get(f"/orders/{order_id}", token=caller.token).outcome == (404, "order_not_found")
            refused = client.post(f"/orders/{order_id}/cancel", token=caller.token)
            assert refused.outcome == (404, "order_not_found")
        assert client.get("/orders", token=caller.token).json["results"] == []
    assert client.get(f"/orders/{order['order_id']}", token=owner.token).json == order


@pytest.mark.parametrize("text", ["abc", "-1", str(2**63), str(10**26), "1%00", "1/", "1/cancel/", "%D9%A1"])
def test_what_is_no_order_is_no_address(client: Client, world: World, text: str) -> None:
    token = world.customer().token
    assert client.get(f"/orders/{text}", token=token).outcome == (404, "not_found")


def test_own_orders_are_listed_newest_first_and_by_state(client: Client, world: World) -> None:
    customer, product_id, none_left = world.customer(), world.product(price=1), world.product(stock=0)
    paid = [world.order(customer, {product_id: count})["order_id"] for count in (1, 2, 3)]
    failed = world.order(customer, {none_left: 1})["order_id"]
    client.post(f"/orders/{paid[0]}/cancel", token=customer.token)

    def listed(query: str = "") -> list[int]:
        pages = client.walk(f"/orders?size=2{query}", token=customer.token)
        return [row["order_id"] for page in pages for row in page]

    assert listed() == [failed, *paid[::-1]]
    assert (listed("&status=paid"), listed("&status=failed")) == ([paid[2], paid[1]], [failed])
    assert (listed("&status=cancelled"), listed("&status=pending")) == ([paid[0]], [])
    whole = client.get("/orders", token=customer.token)
    assert whole.headers["Cache-Control"] == "private, no-store"
    assert whole.json["results"][0] == client.get(f"/orders/{failed}", token=customer.token).json
    last = client.get(client.get("/orders?size=2", token=customer.token).json["next"], token=customer.token).json
    (back,) = client.walk(last["previous"], token=customer.token, direction="previous")
    assert [row["order_id"] for row in back] == [failed, paid[2]]


@pytest.mark.parametrize("query", ["status=bogus", "status=", "status=PAID", "size=0", "status=paid&status=failed"])
def test_bad_question_is_refused(client: Client, world: World, query: str) -> None:
    assert client.get(f"/orders?{query}", token=world.customer().token).outcome == (400, "invalid_input")


def test_cursor_of_another_state_is_refused(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=1)
    for _ in range(2):
        world.order(customer, {product_id: 1})
    link = client.get("/orders?size=1", token=customer.token).json["next"]
    assert client.get(f"{link}&status=paid", token=customer.token).outcome == (400, "invalid_cursor")
