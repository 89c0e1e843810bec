"""API.md "Coupons" over HTTP; bad input is in test_bad_input.py."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.tests.client import Answer, Client
from config.tests.conftest import Customer, World
from shop.testing import wait_until


def claim(client: Client, customer: Customer, campaign_id: object) -> Answer:
    return client.post("/coupons/issue", {"coupon_id": campaign_id}, token=customer.token)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- campaigns ------------------------------------------------------------------------------------------------------


def test_campaign_is_shown_as_it_is(client: Client, world: World) -> None:
    terms: dict[str, Any] = {
        "discount_type": "percent",
        "discount_value": 15,
        "max_discount": 5_000,
        "min_order_amount": 10_000,
    }
    campaign_id = world.campaign(name="봄 세일 15%", total_quantity=7, **terms)
    shown = client.get(f"/coupons/{campaign_id}").json
    times = {name: shown.pop(name) for name in ("opens_at", "closes_at")}
    assert shown == {"id": campaign_id, "name": "봄 세일 15%", "total_quantity": 7, "remaining": 7, **terms}
    assert moment(times["opens_at"]) < datetime.now(UTC) < moment(times["closes_at"])


def test_remaining_counts_down(client: Client, world: World) -> None:
    campaign_id = world.campaign(total_quantity=5)
    for customer in world.customers(2):
        world.coupon(customer, campaign_id)
    wait_until(lambda: client.get(f"/coupons/{campaign_id}").json["remaining"] == 3)


def test_list_has_open_and_upcoming_campaigns_newest_first(client: Client, world: World) -> None:
    running, closed = world.campaign(), world.campaign(opens_in=-7_200, closes_in=-3_600)
    upcoming = world.campaign(opens_in=3_600)
    wait_until(lambda: client.get("/coupons").json["results"][0]["id"] == upcoming)
    ids = [row["id"] for page in client.walk("/coupons?size=3") for row in page]
    assert ids[:2] == [upcoming, running]
    assert closed not in ids
    assert ids == sorted(set(ids), reverse=True)
    assert client.get(f"/coupons/{closed}").json["id"] == closed


def test_campaigns_page_in_both_directions_without_loss_or_repeat(client: Client, world: World) -> None:
    for _ in range(5):
        world.campaign()
    newest = world.one("SELECT max(id) FROM coupons_campaign")
    wait_until(lambda: client.get("/coupons?size=2").json["results"][0]["id"] == newest)

    def ids(pages: list[list[Any]]) -> list[list[int]]:
        return [[row["id"] for row in page] for page in pages]  # `remaining` may count down meanwhile

    forward = ids(client.walk("/coupons?size=2"))
    path = "/coupons?size=2"
    while (link := client.get(path).json["next"]) is not None:
        path = link
    assert ids(client.walk(path, direction="previous")) == forward[::-1]
    assert sum(map(len, forward)) == world.one("SELECT count(*) FROM coupons_campaign WHERE closes_at > now()")


@pytest.mark.parametrize("path", ["/coupons/0", f"/coupons/{2**63 - 1}"])
def test_unknown_campaign_is_not_found(client: Client, path: str) -> None:
    assert client.get(path).outcome == (404, "coupon_not_found")


@pytest.mark.parametrize("path", [f"/coupons/{2**63}", "/coupons/abc", "/coupons/", "/coupons/1/", "/coupons/-1"])
def test_what_is_no_campaign_is_no_address(client: Client, path: str) -> None:
    assert client.get(path).outcome == (404, "not_found")


@pytest.mark.parametrize("query", ["size=0", "size=101", "size=x"])
def test_bad_question_is_refused(client: Client, world: World, query: str) -> None:
    token = world.customer().token
    assert client.get(f"/coupons?{query}").outcome == (400, "invalid_input")
    assert client.get(f"/coupons/mine?{query}", token=token).outcome == (400, "invalid_input")
    assert client.get("/coupons/mine?status=bogus", token=token).outcome == (400, "invalid_input")
    assert client.get("/coupons?cursor=bogus").outcome == (400, "invalid_cursor")
    assert client.get("/coupons/mine?cursor=bogus", token=token).outcome == (400, "invalid_cursor")


# --- a place --------------------------------------------------------------------------------------------------------


def test_claim_gives_a_place_that_becomes_a_coupon(client: Client, world: World) -> None:
    customer, campaign_id = world.customer(), world.campaign(valid_days=30)
    placed = claim(client, customer, campaign_id)
    issuance_id = placed.json["issuance_id"]
    assert placed.status == 202
    assert placed.json == {
        "issuance_id": issuance_id,
        "coupon_id": campaign_id,
        "status": "pending",
        "position": 1,
    }
    path = placed.headers["Location"]
    assert path == f"/coupons/issuances/{issuance_id}"
    wait_until(lambda: client.get(path, token=customer.token).json["status"] == "issued")
    shown = client.get(path, token=customer.token).json
    assert shown == {
        "issuance_id": issuance_id,
        "coupon_id": campaign_id,
        "status": "issued",
        "position": 1,
        "issued_at": shown["issued_at"],
        "expires_at": shown["expires_at"],
        "used_at": None,
        "order_id": None,
    }
    assert moment(shown["expires_at"]) - moment(shown["issued_at"]) == timedelta(days=30)
    assert client.get("/coupons/mine", token=customer.token).json["results"] == [shown]


def test_place_can_be_asked_for_from_the_first_moment_on(client: Client, world: World) -> None:
    campaign_id = world.campaign()
    for position, customer in enumerate(world.customers(10), 1):
        placed = claim(client, customer, campaign_id).json
        shown = client.get(f"/coupons/issuances/{placed['issuance_id']}", token=customer.token).json
        assert (shown["position"], shown["coupon_id"]) == (position, campaign_id)
        assert shown["status"] in ("pending", "issued")
        (mine,) = client.get("/coupons/mine", token=customer.token).json["results"]
        assert mine["issuance_id"] == placed["issuance_id"]


def test_nobody_gets_two(client: Client, world: World) -> None:
    customer, campaign_id = world.customer(), world.campaign()
    issuance_id = claim(client, customer, campaign_id).json["issuance_id"]
    again = claim(client, customer, campaign_id)
    assert again.outcome == (409, "coupon_already_issued")
    assert again.json["issuance_id"] == issuance_id
    world.assert_settled()
    assert claim(client, customer, campaign_id).json["issuance_id"] == issuance_id
    assert world.one("SELECT count(*) FROM coupons_issuance WHERE campaign_id = %s", campaign_id) == 1


def test_sold_out_is_told_and_the_holder_is_told_first_that_they_hold_one(client: Client, world: World) -> None:
    campaign_id = world.campaign(total_quantity=2)
    holders = world.customers(2)
    placed = [claim(client, customer, campaign_id).json for customer in holders]
    assert [place["position"] for place in placed] == [1, 2]
    for customer in world.customers(3):
        assert claim(client, customer, campaign_id).outcome == (409, "coupon_sold_out")
    again = claim(client, holders[0], campaign_id)
    assert again.outcome == (409, "coupon_already_issued")
    assert again.json["issuance_id"] == placed[0]["issuance_id"]
    world.assert_settled()
    assert world.one("SELECT issued FROM coupons_campaign WHERE id = %s", campaign_id) == 2


def test_campaign_has_its_hours(client: Client, world: World) -> None:
    early, late = world.campaign(opens_in=3_600), world.campaign(opens_in=-7_200, closes_in=-1)
    customer, before = world.customer(), world.counts()
    refused = claim(client, customer, early)
    assert refused.outcome == (409, "coupon_not_open")
    opens_at = world.one("SELECT opens_at FROM coupons_campaign WHERE id = %s", early)
    assert abs(moment(refused.json["opens_at"]) - opens_at) < timedelta(milliseconds=1)
    assert claim(client, customer, late).outcome == (409, "coupon_closed")
    assert client.get("/coupons/mine", token=customer.token).json["results"] == []
    assert world.counts() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_input"),
        ({"coupon_id": "1"}, "invalid_input"),
        ({"coupon_id": True}, "invalid_input"),
        ({"coupon_id": None}, "invalid_input"),
        ({"coupon_id": 0}, "invalid_input"),
        ({"coupon_id": -1}, "invalid_input"),
        ({"coupon_id": 1.0}, "invalid_input"),
        ({"coupon_id": 2**63}, "invalid_input"),
        ({"coupon_id": [1]}, "invalid_input"),
        ({"coupon_id": 1, "user_id": 1}, "unknown_field"),
        ({"coupon_id": 1, "position": 1}, "unknown_field"),
    ],
)
def test_bad_claim_is_refused(
    client: Client, world: World, unchanged: Callable[[], None], body: Any, code: str
) -> None:
    assert client.post("/coupons/issue", body, token=world.customer().token).outcome == (400, code)


# --- a coupon of one's own ------------------------------------------------------------------------------------------


def test_coupon_of_somebody_else_is_not_there(client: Client, world: World) -> None:
    owner, other = world.customers(2)
    placed = claim(client, owner, world.campaign())
    for issuance_id in (placed.json["issuance_id"], 0, 2**63 - 1):
        refused = client.get(f"/coupons/issuances/{issuance_id}", token=other.token)
        assert refused.outcome == (404, "issuance_not_found")
    world.assert_settled()
    assert client.get(placed.headers["Location"], token=other.token).outcome == (404, "issuance_not_found")
    assert client.get(placed.headers["Location"], token=world.staff().token).outcome == (404, "issuance_not_found")
    assert client.get("/coupons/mine", token=other.token).json["results"] == []


def test_own_coupons_are_listed_by_state(client: Client, world: World) -> None:
    customer, product_id = world.customer(), world.product(price=1_000)
    issued, used, expired = (world.coupon(customer, world.campaign()) for _ in range(3))
    world.order(customer, {product_id: 1}, issuance_id=used)
    world.rows("UPDATE coupons_issuance SET expires_at = now() - interval '1 s' WHERE id = %s", expired)

    def listed(query: str = "") -> list[tuple[int, str]]:
        rows = client.get(f"/coupons/mine{query}", token=customer.token).json["results"]
        return [(row["issuance_id"], row["status"]) for row in rows]

    assert sorted(listed()) == sorted([(expired, "expired"), (used, "used"), (issued, "issued")])
    assert listed("?status=issued") == [(issued, "issued")]
    assert listed("?status=used") == [(used, "used")]
    assert listed("?status=expired") == [(expired, "expired")]
    assert listed("?status=pending") == listed("?status=rejected") == []


def test_own_coupons_page_in_both_directions_without_loss_or_repeat(client: Client, world: World) -> None:
    customer = world.customer()
    ids = [world.coupon(customer, world.campaign()) for _ in range(5)]
    forward = client.walk("/coupons/mine?size=2", token=customer.token)
    assert [[row["issuance_id"] for row in page] for page in forward] == [
        list(page) for page in (sorted(ids)[:2:-1], sorted(ids)[2:0:-1], sorted(ids)[:1])
    ]
    path = "/coupons/mine?size=2"
    while (link := client.get(path, token=customer.token).json["next"]) is not None:
        path = link
    assert client.walk(path, token=customer.token, direction="previous") == forward[::-1]


def test_page_is_never_longer_than_asked_for(client: Client, world: World) -> None:
    """Claims still at the gate lead the first page; the page keeps its size, and no coupon is lost on the way."""
    customer = world.customer()
    campaigns = [world.campaign() for _ in range(6)]
    for campaign_id in campaigns:
        claim(client, customer, campaign_id)
        page = client.get("/coupons/mine?size=2", token=customer.token).json
        assert len(page["results"]) <= 2
    world.assert_settled()
    rows = [row["coupon_id"] for page in client.walk("/coupons/mine?size=2", token=customer.token) for row in page]
    assert sorted(rows) == campaigns
