"""Placing an order: what is written, at which prices, and what a refusal leaves behind: nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from catalog.errors import ProductNotFound
from catalog.models import Product
from config.tests.building import (
    assert_sound,
    claim,
    coupon_of,
    everything,
    issued,
    make_campaign,
    make_key,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
    stock_of,
)
from coupons import gate
from coupons.errors import IssuanceNotUsable
from coupons.models import Campaign, Issuance
from coupons.tasks import RECORD_CLAIMS
from orders import flows
from orders.flows import AcceptedOrder, OrderRequest
from orders.models import Order, OrderHistory, OrderLine
from orders.pricing import LineRequest
from shop import wakeups
from shop.errors import DependencyUnavailable, IdempotencyKeyInFlight, IdempotencyKeyReused
from shop.testing import dead_server, race, redis_at, wait_until

pytestmark = pytest.mark.usefixtures("committed_db")


def test_order_is_pending_with_lines_and_history_at_the_prices_of_this_moment():
    user_id, now = make_user(), timezone.now()
    cheap, dear = make_product(price=100), make_product(price=2_000)
    request = OrderRequest(
        user_id=user_id, lines=[LineRequest(dear, 2), LineRequest(cheap, 3)], issuance_id=None, request_id="r-1"
    )
    accepted = flows.place_order(request=request, key=None, now=now)
    Product.objects.update(price=1, name="renamed")

    order = Order.objects.get()
    assert accepted == AcceptedOrder(order.pk, "pending", 4_300, "KRW", now)
    assert (order.user_id, order.status, order.request_id) == (user_id, "pending", "r-1")
    assert (order.subtotal, order.discount, order.total, order.settled_at) == (4_300, 0, 4_300, None)
    assert list(OrderLine.objects.order_by("pk").values_list("product_id", "unit_price", "quantity")) == [
        (dear, 2_000, 2),
        (cheap, 100, 3),
    ]
    assert "renamed" not in OrderLine.objects.values_list("product_name", flat=True)
    assert list(OrderHistory.objects.values_list("order_id", "status", "at")) == [(order.pk, "pending", now)]
    wait_until(lambda: wakeups.is_flag_set(flows.RESERVE_STOCK))


def test_order_takes_nothing_yet():
    user_id, product_id = make_user(balance=10), make_product(stock=1)
    place(user_id, (product_id, 1_000))
    assert stock_of(product_id) == 1


def test_unknown_and_hidden_products_are_refused_and_nothing_changes():
    user_id, product_id, hidden = make_user(), make_product(), make_product()
    Product.objects.filter(pk=hidden).update(is_hidden=True)
    before = everything()
    for lines in [(hidden, 1)], [(product_id, 1), (hidden, 1)], [(987_654, 1)]:
        with pytest.raises(ProductNotFound):
            place(user_id, *lines)
    assert everything() == before


def test_coupons_that_are_plainly_not_usable_are_refused_and_nothing_changes():
    user_id, other = make_user(balance=5_000), make_user()
    product_id = make_product(stock=5, price=1_000)
    used, expired, foreign = coupon_of(user_id), coupon_of(user_id), coupon_of(other)
    place(user_id, (product_id, 1), issuance_id=used)
    settle()
    Issuance.objects.filter(pk=expired).update(expires_at=timezone.now() - timedelta(seconds=1))
    before = everything()
    for issuance_id in (used, expired, foreign, 987_654):
        with pytest.raises(IssuanceNotUsable):
            place(user_id, (product_id, 1), issuance_id=issuance_id)
    assert everything() == before


def test_coupon_still_at_the_gate_may_be_spent_by_its_owner_alone():
    user_id, other, product_id = make_user(balance=1_000), make_user(), make_product(stock=1)
    claimed = claim(user_id, make_campaign())
    with pytest.raises(IssuanceNotUsable):
        place(other, (product_id, 1), issuance_id=claimed.issuance_id)
    order_id = place(user_id, (product_id, 1), issuance_id=claimed.issuance_id)
    settle()
    assert status(order_id) == "paid"
    assert Order.objects.get().total == 500
    assert_sound()


def test_recorded_coupon_is_accepted_without_redis_and_an_unknown_one_is_not():
    user_id, product_id = make_user(), make_product()
    issuance_id = coupon_of(user_id)
    with redis_at("gate", dead_server()):
        assert isinstance(place(user_id, (product_id, 1), issuance_id=issuance_id), int)
        with pytest.raises(DependencyUnavailable):
            place(user_id, (product_id, 1), issuance_id=987_654)
    assert Order.objects.count() == 1


# --- keys -----------------------------------------------------------------------------------------------------------


def test_same_key_answers_the_same_order_even_when_the_product_has_gone():
    user_id, product_id = make_user(), make_product()
    first = place(user_id, (product_id, 1), key=make_key(user_id))
    Product.objects.update(is_hidden=True)
    before = everything()
    assert place(user_id, (product_id, 1), key=make_key(user_id)) == first
    assert everything() == before


def test_same_key_answers_the_same_order_though_redis_which_knows_its_coupon_is_away():
    user_id, product_id = make_user(), make_product()
    wanted: dict[str, Any] = {"issuance_id": claim(user_id, make_campaign()).issuance_id, "key": make_key(user_id)}
    first = place(user_id, (product_id, 1), **wanted)
    with redis_at("gate", dead_server()):
        assert place(user_id, (product_id, 1), **wanted) == first
        with pytest.raises(DependencyUnavailable):
            place(user_id, (product_id, 1), **wanted | {"key": make_key(user_id, key="another")})
    assert Order.objects.count() == 1


def test_same_key_with_another_order_is_refused_and_nothing_changes():
    user_id, product_id = make_user(), make_product()
    place(user_id, (product_id, 1), key=make_key(user_id, body="1"))
    before = everything()
    with pytest.raises(IdempotencyKeyReused):
        place(user_id, (product_id, 2), key=make_key(user_id, body="2"))
    assert everything() == before


def test_refusal_is_remembered_with_its_key_and_nothing_else_is_kept():
    user_id, product_id = make_user(), make_product()
    Product.objects.update(is_hidden=True)
    before = everything(but=["shop_idempotencyrecord"])
    for _ in range(2):
        with pytest.raises(ProductNotFound):
            place(user_id, (product_id, 1), key=make_key(user_id))
        Product.objects.update(is_hidden=False)
    Product.objects.update(is_hidden=True)
    assert everything(but=["shop_idempotencyrecord"]) == before


def test_one_key_forty_times_at_once_places_one_order():
    user_id, product_id = make_user(), make_product()
    outcomes = race(*[lambda: place(user_id, (product_id, 1), key=make_key(user_id))] * 40)
    order = Order.objects.get()
    assert {outcome for outcome in outcomes if isinstance(outcome, int)} == {order.pk}
    assert {type(outcome) for outcome in outcomes} <= {int, IdempotencyKeyInFlight}
    assert (OrderLine.objects.count(), OrderHistory.objects.count()) == (1, 1)


def test_two_keys_at_once_place_two_orders():
    user_id, product_id = make_user(), make_product()
    calls = [lambda key=key: place(user_id, (product_id, 1), key=make_key(user_id, key=key)) for key in ("one", "two")]
    assert sorted(race(*calls)) == sorted(Order.objects.values_list("pk", flat=True))
    assert Order.objects.count() == 2


def test_pending_claim_of_a_campaign_counts_only_when_recorded():
    user_id, campaign_id = make_user(), make_campaign(total=3)
    claimed = claim(user_id, campaign_id)
    assert gate.find_pending(claimed.issuance_id) == gate.Pending(campaign_id, user_id, 1)
    assert (issued(campaign_id), Campaign.objects.get().total_quantity) == (0, 3)
    run(RECORD_CLAIMS)
    assert gate.find_pending(claimed.issuance_id) is None
    assert issued(campaign_id) == 1
