"""Nobody sets what the contract does not name, and no answer says more than it did: requests and answers are frozen."""

from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model

from config.tests.building import coupon_of, everything, make_campaign, make_product, make_user, place, settle
from config.tests.direct import Direct
from config.tests.sources import ROOMS
from shop import auth, openapi, representations
from shop.endpoint import Endpoint

pytestmark = pytest.mark.django_db
MODELS: list[type[Model]] = [
    model for room in ROOMS if room not in ("config", "loadtests") for model in apps.get_app_config(room).get_models()
]
FIELDS = sorted({name for model in MODELS for it in model._meta.get_fields() for name in (it.name, f"{it.name}_id")})
PASSWORD = "plum-tractor-59"


def sound_bodies() -> dict[str, Any]:
    """Return a body for each operation that takes one, which it would accept."""
    user_id, product_id = make_user(balance=5_000), make_product(stock=9)
    order_id = place(user_id, (product_id, 1))
    settle()
    return {
        "token": auth.access_token_for(user_id=user_id),
        "bodies": {
            "/auth/signup": {"username": "newcomer", "password": PASSWORD},
            "/auth/token": {"username": "newcomer", "password": PASSWORD},
            "/auth/token/refresh": {"refresh": "x"},
            "/balance/charge": {"amount": 10},
            "/coupons/issue": {"coupon_id": make_campaign()},
            "/orders": {"items": [{"product_id": product_id, "quantity": 1}]},
            f"/orders/{order_id}/cancel": {},
        },
    }


def named_in_contract() -> dict[str, set[str]]:
    """Return the fields that each operation's body may have, by its last fixed word."""
    openapi.read_descriptions()
    return {
        operation.name: set(operation.body.fields)
        for operation in openapi.OPERATIONS.values()
        if operation.body is not None
    }


NAMED = {
    "sign_up": {"username", "password"},
    "obtain_token": {"username", "password"},
    "refresh_token": {"refresh"},
    "charge_balance": {"amount", "user_id"},
    "issue_coupon": {"coupon_id"},
    "place_order": {"items", "issuance_id"},
    "cancel_order": set(),
}


def test_bodies_have_the_fields_of_the_contract_and_no_others() -> None:
    assert named_in_contract() == NAMED


@pytest.mark.parametrize("value", [1, True, None, "1", {}])
def test_no_field_of_any_model_can_be_set_from_outside(value: object) -> None:
    """Each is named in the refusal, so that all can be sent at once."""
    sound = sound_bodies()
    named = dict(zip(sound["bodies"], NAMED.values(), strict=True))
    assert len(FIELDS) > 100
    before, client = everything(), Direct()
    for path, body in sound["bodies"].items():
        extra = [name for name in FIELDS if name not in named[path]]
        refused = client.post(path, dict.fromkeys(extra, value) | body, token=sound["token"])
        assert refused.outcome == (400, "unknown_field"), path
        assert refused.pointers == [f"/{name}" for name in extra]
    assert everything() == before


@pytest.mark.parametrize("name", ["price", "unit_price", "amount", "discount", "status", "product_name", "order_id"])
def test_no_field_of_a_line_can_be_set_from_outside(name: str) -> None:
    sound = sound_bodies()
    body = {"items": [sound["bodies"]["/orders"]["items"][0] | {name: 1}]}
    refused = Direct().post("/orders", body, token=sound["token"])
    assert (refused.outcome, refused.pointers) == ((400, "unknown_field"), [f"/items/0/{name}"])


def test_control_a_field_that_is_ignored_instead_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sound_bodies()
    read = "shop.api.read_body"
    monkeypatch.setattr(read, lambda request, spec: {"username": "newcomer", "password": PASSWORD})
    assert Direct().post("/auth/signup", {"is_staff": True}, token=sound["token"]).status == 201


ANSWERS = {
    "/products": {"results", "next", "previous"},
    "/products/{product_id}": {
        "id", "sku", "name", "price", "currency", "stock", "category", "status", "image_url", "description",
        "created_at",
    },
    "/products/top-selling": {"window_days", "as_of", "results"},
    "/balance/{user_id}": {"user_id", "balance", "currency", "updated_at"},
    "/coupons/{coupon_id}": {
        "id", "name", "discount_type", "discount_value", "max_discount", "min_order_amount", "total_quantity",
        "remaining", "opens_at", "closes_at",
    },
    "/coupons/issuances/{issuance_id}": {
        "issuance_id", "coupon_id", "status", "position", "issued_at", "expires_at", "used_at", "order_id"
    },
    "/orders/{order_id}": {
        "order_id", "status", "failure", "items", "subtotal", "discount", "total", "currency", "issuance_id",
        "created_at", "settled_at", "history",
    },
}  # fmt: skip
ROWS = {
    "/products": {"id", "sku", "name", "price", "currency", "stock", "category", "status", "image_url"},
    "/products/top-selling": {"rank", "product_id", "name", "price", "units_sold", "revenue"},
    "/balance/{user_id}/transfers": {"transfer_id", "kind", "amount", "balance_after", "order_id", "created_at"},
    "/coupons": ANSWERS["/coupons/{coupon_id}"],
    "/coupons/mine": ANSWERS["/coupons/issuances/{issuance_id}"],
    "/orders": ANSWERS["/orders/{order_id}"],
}


def test_answers_have_exactly_these_fields() -> None:
    user_id, product_id = make_user(balance=5_000), make_product(stock=9)
    order_id = place(user_id, (product_id, 1), issuance_id=coupon_of(user_id))
    settle()
    ids = {
        "user_id": user_id,
        "product_id": product_id,
        "order_id": order_id,
        "issuance_id": coupon_of(user_id),
        "coupon_id": make_campaign(),
    }
    representations.outdate()  # of earlier tests, kept by this process too
    client, token = Direct(), auth.access_token_for(user_id=user_id)
    answers = {route: client.get(route.format(**ids), token=token).json for route in ANSWERS | ROWS}
    assert {route: set(answers[route]) for route in ANSWERS} == ANSWERS
    assert {route: set(answers[route]["results"][0]) for route in ROWS} == ROWS


def test_answers_to_what_is_posted_have_exactly_these_fields() -> None:
    sound = sound_bodies()
    asked = {path: body for path, body in sound["bodies"].items() if path != "/auth/token/refresh"}
    got = [set(Direct().post(path, body, token=sound["token"]).json) for path, body in asked.items()]
    assert got == [
        {"user_id", "username"},
        {"access", "refresh", "user_id"},
        {"transfer_id", "user_id", "amount", "balance", "currency"},
        {"issuance_id", "coupon_id", "status", "position"},
        {"order_id", "status", "subtotal", "currency", "created_at"},
        ANSWERS["/orders/{order_id}"],
    ]


def test_every_operation_with_a_body_is_looked_at() -> None:
    openapi.read_descriptions()
    views = {view for (view, method), it in openapi.OPERATIONS.items() if it.body is not None and method == "post"}
    assert len(views) == len(NAMED)
    assert all(issubclass(view, Endpoint) for view in views)
