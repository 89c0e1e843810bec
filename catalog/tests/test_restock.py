"""Restocking: what is added, what may be written off, and no piece lost between two operators."""

from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from catalog import flows, queries
from catalog.errors import ProductNotFound, StockTooLow
from catalog.models import Product, Stock, StockMovement
from config.tests.building import assert_sound, everything, make_product, make_user, place, settle, stock_of, violated
from shop import db
from shop.testing import Running, dead_server, holding, race, redis_at, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def restock(product_id, quantity, reason="count"):
    return flows.restock(product_id=product_id, quantity=quantity, reason=reason, now=timezone.now())


def test_restock_adds_and_writes_the_movement():
    product_id = make_product()
    assert restock(product_id, 5, "delivery") == 5
    assert restock(product_id, -2, "broken") == 3
    assert list(StockMovement.objects.order_by("pk").values_list("kind", "delta", "reason", "order_id")) == [
        ("restock", 5, "delivery", None),
        ("restock", -2, "broken", None),
    ]
    assert stock_of(product_id) == 3
    assert_sound()


def test_write_off_of_more_than_there_is_changes_nothing():
    product_id = make_product(stock=3)
    before = everything()
    with pytest.raises(StockTooLow):
        restock(product_id, -4)
    assert everything() == before
    assert restock(product_id, -3) == 0


def test_restock_of_nothing_known_changes_nothing():
    before = everything()
    with pytest.raises(ProductNotFound):
        restock(987_654, 1)
    assert everything() == before


def test_product_made_elsewhere_gets_its_stock_row():
    product = Product.objects.create(sku="X", name="X", category="x", price=1, created_at=timezone.now())
    assert violated() == {"S1"}
    flows.open_product(product_id=product.pk)
    flows.open_product(product_id=product.pk)
    assert Stock.objects.values_list("product_id", "available").get() == (product.pk, 0)
    assert_sound()


def test_restock_stands_even_when_the_cache_does_not_hear_of_it():
    product_id = make_product()
    with redis_at("cached", dead_server()):
        assert restock(product_id, 5) == 5
    assert stock_of(product_id) == 5


def test_restocks_and_write_offs_at_once_all_count():
    product_id = make_product(stock=50)
    outcomes = race(*[partial(restock, product_id, delta) for delta in [3] * 6 + [-5] * 6])
    assert all(isinstance(outcome, int) for outcome in outcomes)
    assert stock_of(product_id) == 50 + 18 - 30
    assert_sound()


def test_of_write_offs_at_once_only_as_many_pass_as_there_are_pieces():
    product_id = make_product(stock=5)
    outcomes = race(*[partial(restock, product_id, -2)] * 4)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StockTooLow", "StockTooLow", "int", "int"]
    assert stock_of(product_id) == 1
    assert_sound()


def test_second_restock_waits_for_the_first():
    product_id = make_product(stock=5)
    with holding("catalog.operations.restock") as holder:
        first = Running(partial(restock, product_id, 2))
        holder.wait()
        second = Running(partial(restock, product_id, 3))
        wait_until_blocked(1)
        holder.let_go()
        assert (first.outcome(), second.outcome()) == (7, 10)


def test_control_reading_before_writing_loses_a_delivery(monkeypatch):
    def read_then_write(*, product_id, quantity, reason, now):
        available = look(product_id) + quantity
        Stock.objects.filter(product_id=product_id).update(available=available)
        StockMovement.objects.create(product_id=product_id, kind="restock", delta=quantity, created_at=now)
        return available

    monkeypatch.setattr("catalog.operations.restock", read_then_write)
    product_id = make_product(stock=5)
    with holding(f"{__name__}.look") as holder:
        first = Running(partial(restock, product_id, 2))
        holder.wait()
        assert restock(product_id, 3) == 8
        holder.let_go()
        assert first.outcome() == 7
    assert stock_of(product_id) == 7
    assert violated() == {"S1"}


def look(product_id):
    return stock_of(product_id)


# --- popularity -----------------------------------------------------------------------------------------------------


def test_popularity_follows_the_units_sold():
    user_id = make_user(balance=100_000)
    hot, cold = make_product(stock=9, price=10), make_product(stock=9, price=10)
    place(user_id, (hot, 3))
    place(user_id, (hot, 2), (cold, 1))
    settle()
    now = timezone.now()
    assert flows.refresh_popularity(now=now) == 2
    assert flows.refresh_popularity(now=now) == 0
    assert dict(Product.objects.values_list("pk", "popularity")) == {hot: 5, cold: 1}
    db.rows("UPDATE catalog_dailysales SET date = date - 29")  # the first of thirty days, today the last
    assert flows.refresh_popularity(now=now) == 0
    db.rows("UPDATE catalog_dailysales SET date = date - 1")
    assert flows.refresh_popularity(now=now) == 2
    assert set(Product.objects.values_list("popularity", flat=True)) == {0}


def test_hidden_product_is_no_top_seller():
    user_id = make_user(balance=100_000)
    hidden, shown = make_product(stock=9, price=10), make_product(stock=9, price=10)
    place(user_id, (hidden, 3), (shown, 1))
    settle()
    Product.objects.filter(pk=hidden).update(is_hidden=True)
    today = timezone.localdate(timezone=ZoneInfo("Asia/Seoul"))
    found = queries.list_top_selling(since=today - timedelta(days=2), until=today, limit=5)
    assert [(row["rank"], row["product_id"]) for row in found] == [(1, shown)]
