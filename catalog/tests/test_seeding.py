"""What a seeded catalogue looks like."""

import re
from datetime import UTC, datetime

import pytest

from catalog import flows, seeding
from catalog.models import Product, Stock
from shop.seeding import Wish, seed

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_products_read_like_a_shops():
    seed(wish=Wish(counts={"products": 500}), now=NOW, progress=lambda *_: None)

    products = list(Product.objects.order_by("pk"))
    assert [product.sku for product in products[:2]] == ["SKU-00000001", "SKU-00000002"]
    assert all(re.fullmatch(r"[가-힣]+ [가-힣]+ [가-힣]+ [0-9가-힣]+", product.name) for product in products)
    assert {product.category for product in products} == set(seeding.CATEGORIES)
    assert all(product.price >= 100 and product.price % 100 == 0 for product in products)
    assert {stock.available for stock in Stock.objects.all()} <= set(range(100, 10_001))


@pytest.mark.django_db
def test_stock_is_what_the_operator_says():
    seed(wish=Wish(counts={"products": 3}, options={"stock": 0}), now=NOW, progress=lambda *_: None)
    seed(wish=Wish(counts={"products": 2}, options={"stock": 7}), now=NOW, progress=lambda *_: None)
    assert list(Stock.objects.order_by("pk").values_list("available", flat=True)) == [0, 0, 0, 7, 7]


def test_seeded_popularity_covers_the_days_of_the_clocks():
    assert seeding.POPULARITY_DAYS == flows.POPULARITY_DAYS


def test_each_category_has_as_many_nouns():
    assert {len(nouns.split()) for _, nouns in seeding.CATEGORIES.values()} == {seeding.NOUNS_EACH}
