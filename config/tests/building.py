"""Small shops for tests: what a customer or an operator would have done, in one line each, through the real flows."""

import hashlib
import itertools
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import connection
from django.db.models import Q
from django.utils import timezone

import balance.flows
import catalog.flows
import coupons.flows
import coupons.tasks
import orders.flows
import orders.tasks
from balance.models import Wallet
from catalog.models import Product, Stock
from coupons.models import Campaign
from orders.flows import OrderRequest
from orders.models import Order
from orders.pricing import LineRequest
from shop import db, pipeline
from shop.idempotency import Key
from shop.invariants import audit
from shop.models import ParkedItem, User
from shop.registry import on_signup

STAGES = (coupons.tasks.RECORD_CLAIMS, *orders.tasks.STAGES)
"""Every stage, in the order in which one pass settles everything."""

_number = itertools.count(1)


def make_user(*, balance: int = 0) -> int:
    """Return a new user's id, with a wallet that holds `balance`."""
    now = timezone.now()
    with db.transaction():
        user = User.objects.create(username=f"user{next(_number)}", date_joined=now)
        for welcome in on_signup:
            welcome(user_id=user.pk, now=now)
    if balance:
        charge(user.pk, balance)
    return user.pk


def make_operator() -> int:
    """Return a new operator's id."""
    user_id = make_user()
    User.objects.filter(pk=user_id).update(is_staff=True)
    return user_id


def charge(user_id: int, amount: int, *, key: Key | None = None) -> None:
    balance.flows.charge_balance(user_id=user_id, amount=amount, key=key, now=timezone.now())


def make_product(*, stock: int = 0, price: int = 1_000) -> int:
    """Return a new product's id."""
    number, now = next(_number), timezone.now()
    product = Product.objects.create(
        sku=f"SKU-{number}", name=f"Thing {number}", category="things", price=price, created_at=now
    )
    catalog.flows.open_product(product_id=product.pk)
    if stock:
        catalog.flows.restock(product_id=product.pk, quantity=stock, reason="first delivery", now=now)
    return product.pk


def make_campaign(*, total: int = 100, **values: Any) -> int:
    """Return the id of a campaign that is open; 500 off unless `values` say otherwise."""
    now = timezone.now()
    terms = {
        "name": f"Campaign {next(_number)}",
        "discount_type": "fixed",
        "discount_value": 500,
        "total_quantity": total,
        "opens_at": now - timedelta(hours=1),
        "closes_at": now + timedelta(hours=1),
    }
    return coupons.flows.save_campaign(campaign_id=None, values=terms | values)


def make_key(user_id: int, *, route: str = "test", key: str = "one", body: str = "") -> Key:
    return Key(user_id=user_id, route=route, key=key, fingerprint=hashlib.sha256(body.encode()).digest())


def place(user_id: int, *lines: tuple[int, int], issuance_id: int | None = None, key: Key | None = None) -> int:
    """Place an order of (product id, quantity) lines; return its id."""
    request = OrderRequest(
        user_id=user_id, lines=[LineRequest(*line) for line in lines], issuance_id=issuance_id, request_id="test"
    )
    return orders.flows.place_order(request=request, key=key, now=timezone.now()).order_id


def claim(user_id: int, campaign_id: int) -> coupons.flows.Claimed:
    return coupons.flows.claim_coupon(user_id=user_id, campaign_id=campaign_id, key=None, now=timezone.now())


def coupon_of(user_id: int, **terms: Any) -> int:
    """Return a recorded coupon of this user, from a campaign of its own; 500 off unless `terms` say otherwise."""
    issuance_id = claim(user_id, make_campaign(**terms)).issuance_id
    run(coupons.tasks.RECORD_CLAIMS)
    return issuance_id


def cancel(order_id: int) -> None:
    orders.flows.cancel_order(order_id=order_id, user_id=None, reason="", key=None, now=timezone.now())


def database_ahead(seconds: float) -> AbstractContextManager[object]:
    """Have the flows that ask for the database's time hear one that is so much later."""
    return mock.patch("shop.db.clock", return_value=timezone.now() + timedelta(seconds=seconds))


def run(*stages: pipeline.Stage, limit: int = 500) -> list[int]:
    """Run one batch of each stage; return what they claimed."""
    taken = []
    for stage in stages:
        batch = pipeline.Claim(limit=limit)
        stage.flow(claim=batch, now=timezone.now())
        taken += batch.taken
    return taken


def settle() -> None:
    """Do what the workers would do until nothing is under way."""
    for stage in STAGES:
        pipeline.drain(stage)


def parked_ids(stage: pipeline.Stage) -> list[int]:
    """Return the items of a stage that are not to be claimed now."""
    waiting = Q(parked_until__isnull=True) | Q(parked_until__gt=timezone.now())
    return list(ParkedItem.objects.filter(waiting, stage=stage.name).values_list("item_id", flat=True))


def assert_sound() -> None:
    """Run the whole audit over a settled shop."""
    found = [str(violation) for violation in audit(wait_seconds=0).violations]
    assert not found, "\n".join(found)


def violated() -> set[str]:
    """Return the names of the invariants that a settled shop breaks: what a negative control looks for."""
    return {violation.invariant for violation in audit(wait_seconds=0).violations}


def statuses(order_ids: Iterable[int]) -> list[str]:
    """Return what became of these orders: the failure code where one failed, else the status."""
    rows = {row[0]: row[1] if row[1] else row[2] for row in Order.objects.values_list("pk", "failure_code", "status")}
    return [rows[order_id] for order_id in order_ids]


def status(order_id: int) -> str:
    return statuses([order_id])[0]


def balance_of(user_id: int) -> int:
    return int(Wallet.objects.get(user_id=user_id).balance)


def stock_of(product_id: int) -> int:
    return int(Stock.objects.get(product_id=product_id).available)


def issued(campaign_id: int) -> int:
    return int(Campaign.objects.get(pk=campaign_id).issued)


def everything(*, but: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the shop, to see that a refusal changed nothing; `but` leaves tables out."""
    left_out = {"django_migrations", "django_content_type", "auth_permission", "shop_stagerun", *but}
    tables = [name for name in connection.introspection.django_table_names() if name not in left_out]
    return {name: db.rows(f"SELECT * FROM {name} ORDER BY 1") for name in tables}  # noqa: S608
