"""API.md "Balance" over HTTP; bad input is in test_bad_input.py."""

import pytest

from config.tests.client import Client
from config.tests.conftest import BALANCE, World
from shop.testing import race

LIMIT = 1_000_000_000


def test_charge_adds_to_the_balance_and_says_so(client: Client, world: World) -> None:
    customer = world.customer()
    charged = client.post("/balance/charge", {"amount": 250}, token=customer.token)
    assert charged.status == 200
    assert charged.json == {
        "transfer_id": charged.json["transfer_id"],
        "user_id": customer.user_id,
        "amount": 250,
        "balance": BALANCE + 250,
        "currency": "KRW",
    }
    shown = client.get(f"/balance/{customer.user_id}", token=customer.token)
    assert shown.json["balance"] == BALANCE + 250
    assert shown.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in shown.headers


@pytest.mark.parametrize("amount", [1, 10_000_000])
def test_charge_takes_both_ends_of_its_range(client: Client, world: World, amount: int) -> None:
    customer = world.customer()
    charged = client.post("/balance/charge", {"amount": amount}, token=customer.token)
    assert charged.json["balance"] == BALANCE + amount


def test_refusal_names_the_field_and_the_reason(client: Client, world: World) -> None:
    customer = world.customer()
    for body, pointer, code in (
        ({"amount": 0}, "/amount", "out_of_range"),
        ({"amount": "5"}, "/amount", "not_an_integer"),
        ({}, "/amount", "required"),
        ({"amount": 5, "user_id": "1"}, "/user_id", "not_an_integer"),
    ):
        refused = client.post("/balance/charge", body, token=customer.token)
        assert refused.outcome == (400, "invalid_input")
        assert [(item["pointer"], item["code"]) for item in refused.json["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("extra", "pointer"), [("balance", "/balance"), ("amount ", "/amount "), ("", "/"), ("a/b~c", "/a~1b~0c")]
)
def test_unknown_field_is_pointed_to(client: Client, world: World, extra: str, pointer: str) -> None:
    refused = client.post("/balance/charge", {"amount": 5, extra: 5}, token=world.customer().token)
    assert (refused.outcome, refused.pointers) == ((400, "unknown_field"), [pointer])


def test_own_id_or_none_may_stand_in_the_body(client: Client, world: World) -> None:
    customer = world.customer()
    for user_id in (customer.user_id, None):
        charged = client.post("/balance/charge", {"amount": 5, "user_id": user_id}, token=customer.token)
        assert charged.json["user_id"] == customer.user_id
    assert world.balance(customer) == BALANCE + 10


def test_staff_charge_for_others(client: Client, world: World) -> None:
    staff, customer = world.staff(), world.customer()
    charged = client.post("/balance/charge", {"amount": 7, "user_id": customer.user_id}, token=staff.token)
    assert (charged.json["user_id"], charged.json["balance"]) == (customer.user_id, BALANCE + 7)
    before = world.counts()
    missing = client.post("/balance/charge", {"amount": 7, "user_id": 2**62}, token=staff.token)
    assert missing.outcome == (404, "user_not_found")
    assert (world.balance(staff), world.counts()) == (BALANCE, before)


def test_wallet_holds_its_limit_and_not_one_more(client: Client, world: World) -> None:
    customer = world.customer()
    for _ in range((LIMIT - BALANCE) // 10_000_000):
        assert client.post("/balance/charge", {"amount": 10_000_000}, token=customer.token).status == 200
    room = LIMIT - world.balance(customer)
    over = client.post("/balance/charge", {"amount": room + 1}, token=customer.token)
    assert over.outcome == (409, "balance_limit_exceeded")
    assert over.json["limit"] == LIMIT
    assert world.balance(customer) == LIMIT - room
    assert client.post("/balance/charge", {"amount": room}, token=customer.token).json["balance"] == LIMIT
    assert client.post("/balance/charge", {"amount": 1}, token=customer.token).code == "balance_limit_exceeded"


def test_staff_see_every_balance_and_are_told_who_is_not_there(client: Client, world: World) -> None:
    staff, customer = world.staff(), world.customer()
    assert client.get(f"/balance/{customer.user_id}", token=staff.token).json["balance"] == BALANCE
    assert len(client.get(f"/balance/{customer.user_id}/transfers", token=staff.token).json["results"]) == 1
    for user_id in (2**62, 2**63, 10**39, 0):
        for path in (f"/balance/{user_id}", f"/balance/{user_id}/transfers"):
            assert client.get(path, token=staff.token).outcome == (404, "user_not_found"), path


def test_transfers_are_every_change_newest_first(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=300)
    client.post("/balance/charge", {"amount": 40}, token=customer.token)
    order = world.order(customer, {product_id: 2})
    client.post(f"/orders/{order['order_id']}/cancel", token=customer.token)
    (rows,) = client.walk(f"/balance/{customer.user_id}/transfers", token=customer.token)
    told = [(row["kind"], row["amount"], row["balance_after"], row["order_id"]) for row in rows]
    assert told == [
        ("refund", 600, BALANCE + 40, order["order_id"]),
        ("payment", -600, BALANCE + 40 - 600, order["order_id"]),
        ("charge", 40, BALANCE + 40, None),
        ("charge", BALANCE, BALANCE, None),
    ]
    assert [row["transfer_id"] for row in rows] == sorted((row["transfer_id"] for row in rows), reverse=True)


def test_transfers_page_in_both_directions_without_loss_or_repeat(client: Client, world: World) -> None:
    customer = world.customer()
    for amount in range(1, 12):
        client.post("/balance/charge", {"amount": amount}, token=customer.token)
    path = f"/balance/{customer.user_id}/transfers"
    pages = client.walk(f"{path}?size=5", token=customer.token)
    assert [len(page) for page in pages] == [5, 5, 2]
    rows = [row for page in pages for row in page]
    assert [row["amount"] for row in rows] == [*range(11, 0, -1), BALANCE]
    assert rows == client.walk(path, token=customer.token)[0]
    second = client.get(client.get(f"{path}?size=5", token=customer.token).json["next"], token=customer.token)
    third = client.get(second.json["next"], token=customer.token)
    assert third.json["next"] is None
    assert client.walk(third.json["previous"], token=customer.token, direction="previous") == [pages[1], pages[0]]
    assert second.headers["Link"] == f'<{second.json["next"]}>; rel="next", <{second.json["previous"]}>; rel="prev"'


def test_cursor_of_another_wallet_is_refused(client: Client, world: World) -> None:
    customer, other = world.customers(2)
    client.post("/balance/charge", {"amount": 1}, token=customer.token)
    link = client.get(f"/balance/{customer.user_id}/transfers?size=1", token=customer.token).json["next"]
    stolen = link.replace(f"/balance/{customer.user_id}/", f"/balance/{other.user_id}/")
    assert client.get(stolen, token=other.token).outcome == (400, "invalid_cursor")


def test_parallel_charges_all_count(client: Client, world: World) -> None:
    customer = world.customer()
    answers = race(*[lambda: client.post("/balance/charge", {"amount": 3}, token=customer.token)] * 20)
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.json["balance"] for answer in answers) == [BALANCE + 3 * count for count in range(1, 21)]
    assert world.balance(customer) == BALANCE + 60
