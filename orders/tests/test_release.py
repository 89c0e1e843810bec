"""Releasing: what a refused order holds goes back in the transaction that fails it, once."""

import pytest

import catalog.operations as catalog
from config.tests.building import (
    STAGES,
    assert_sound,
    coupon_of,
    everything,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
    stock_of,
    violated,
)
from coupons.models import Issuance
from orders.models import Order, OrderHistory
from orders.tasks import RELEASE, RESERVE_STOCK
from shop.testing import race

pytestmark = pytest.mark.usefixtures("committed_db")


def refused_order():
    """Return an order that holds two products and a coupon and cannot be paid."""
    user_id, products = make_user(balance=1), [make_product(stock=5, price=1_000) for _ in range(2)]
    order_id = place(user_id, (products[1], 2), (products[0], 3), issuance_id=coupon_of(user_id))
    for stage in STAGES[:-1]:
        run(stage)
    return order_id, products


def test_until_released_a_refused_order_holds_what_it_took():
    order_id, products = refused_order()
    order = Order.objects.get()
    assert (order.status, order.refusal, order.settled_at) == ("coupon_applied", "insufficient_balance", None)
    assert [stock_of(product_id) for product_id in products] == [2, 3]
    assert Issuance.objects.get().order_id == order_id


def test_release_gives_stock_and_coupon_back_and_fails_the_order():
    order_id, products = refused_order()
    assert run(RELEASE) == [order_id]
    order, issuance = Order.objects.get(), Issuance.objects.get()
    assert (order.status, order.failure_code, order.refusal) == ("failed", "insufficient_balance", "")
    assert [stock_of(product_id) for product_id in products] == [5, 5]
    assert (issuance.status, issuance.order_id, issuance.used_at) == ("issued", None, None)
    assert list(OrderHistory.objects.order_by("pk").values_list("status", "reason")) == [
        ("pending", ""),
        ("stock_reserved", ""),
        ("coupon_applied", ""),
        ("failed", "insufficient_balance"),
    ]
    assert_sound()


def test_release_twice_gives_back_once():
    order_id, _products = refused_order()
    run(RELEASE)
    before = everything()
    assert run(RELEASE) == []
    assert everything() == before
    assert status(order_id) == "insufficient_balance"


def test_release_at_once_gives_back_once():
    order_id, products = refused_order()
    outcomes = race(*[lambda: run(RELEASE)] * 4)
    assert sorted(outcomes) == [[], [], [], [order_id]]
    assert [stock_of(product_id) for product_id in products] == [5, 5]
    assert_sound()


def test_coupon_that_another_order_spends_is_not_given_back():
    """A coupon refused to the second order stays with the first."""
    user_id, product_id = make_user(balance=9_000), make_product(stock=5, price=1_000)
    issuance_id = coupon_of(user_id)
    first, second = (place(user_id, (product_id, 1), issuance_id=issuance_id) for _ in range(2))
    settle()
    assert (status(first), status(second)) == ("paid", "issuance_not_usable")
    assert (Issuance.objects.get().order_id, stock_of(product_id)) == (first, 4)
    assert_sound()


def test_order_that_held_nothing_gives_nothing_back():
    user_id, product_id = make_user(), make_product(stock=1)
    place(user_id, (product_id, 2))
    run(RESERVE_STOCK)
    assert run(RELEASE) == []
    assert stock_of(product_id) == 1


def test_control_a_release_that_forgets_the_stock_is_found(monkeypatch):
    monkeypatch.setattr(catalog, "give_stock_back", lambda takings, now: None)
    refused_order()
    run(RELEASE)
    assert violated() == {"S2"}
