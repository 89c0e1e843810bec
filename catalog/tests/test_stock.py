"""Stock rows are changed where they were locked, and a product's movements are found without reading all of them."""

import pytest
from django.utils import timezone

from catalog import operations
from catalog.models import StockMovement
from catalog.operations import Taking
from config.tests.building import make_product, make_user, place, stock_of
from shop import db

pytestmark = pytest.mark.usefixtures("committed_db")


def test_a_place_serves_one_change_of_a_row():
    user_id, product_id = make_user(), make_product(stock=5)
    takings = [[Taking(place(user_id, (product_id, 1)), product_id, 1)] for _ in range(2)]
    with pytest.raises(RuntimeError, match=r"\A1 of 1 rows of catalog_stock are not where they were locked\Z"):
        take_twice(product_id, takings)
    assert stock_of(product_id) == 5
    assert list(StockMovement.objects.values_list("kind", "delta")) == [("restock", 5)]


def take_twice(product_id, takings):
    with db.transaction():
        stock = operations.lock_stock([product_id])
        for taking in takings:
            operations.take_stock(taking, stock, now=timezone.now())


def test_a_row_locked_again_may_be_changed_again():
    user_id, product_id = make_user(), make_product(stock=5)
    order_ids = [place(user_id, (product_id, pieces)) for pieces in (1, 2)]
    with db.transaction():
        for order_id, pieces in zip(order_ids, (1, 2), strict=True):
            stock = operations.lock_stock([product_id])
            operations.take_stock([Taking(order_id, product_id, pieces)], stock, now=timezone.now())
    assert stock_of(product_id) == 2


@pytest.mark.parametrize(
    "condition", ["product_id = 7", "product_id IN (SELECT id FROM catalog_product WHERE sku = 'x')"]
)
def test_movements_of_a_product_are_read_through_their_index(condition):
    with db.transaction():
        db.rows("SET LOCAL enable_seqscan = off")  # a table of a few rows is read whole
        plan = db.rows(f"EXPLAIN SELECT * FROM catalog_stockmovement WHERE {condition} ORDER BY id DESC LIMIT 50")  # noqa: S608
    said = "\n".join(line for (line,) in plan)
    assert "movement_by_product" in said
