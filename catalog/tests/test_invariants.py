"""Each invariant of stock must name the one row that is broken, and nothing else."""

import pytest

from orders.tests import sound_shop
from shop import db
from shop.invariants import find_violations

pytestmark = pytest.mark.django_db


def found():
    return [(violation.invariant, violation.row) for violation in find_violations(drained=False)]


@pytest.fixture(autouse=True)
def shop():
    built = sound_shop.build()
    assert found() == []
    return built


@pytest.mark.parametrize("more", [1, -1])
def test_s1_names_a_product_whose_stock_is_not_the_sum_of_its_movements(more):
    [(product_id, available)] = db.rows("SELECT product_id, available FROM catalog_stock ORDER BY 2 DESC LIMIT 1")
    sound_shop.damage(
        "UPDATE catalog_stock SET available = available + %(more)s WHERE product_id = %(id)s", more=more, id=product_id
    )
    assert found() == [("S1", {"product_id": product_id, "available": available + more, "movements": available})]


def test_s1_names_a_product_without_a_stock_row():
    [(product_id, available)] = db.rows("SELECT product_id, available FROM catalog_stock ORDER BY 2 DESC LIMIT 1")
    sound_shop.damage("DELETE FROM catalog_stock WHERE product_id = %(id)s", id=product_id)
    assert found() == [("S1", {"product_id": product_id, "available": None, "movements": available})]


def test_x2_names_the_movements_trigger_when_it_does_not_refuse():
    db.rows("CREATE FUNCTION shrug() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    db.rows(
        """
        CREATE OR REPLACE TRIGGER movement_append_only BEFORE UPDATE OR DELETE ON catalog_stockmovement
        FOR EACH ROW EXECUTE FUNCTION shrug()
        """
    )
    assert found() == [("X2", {"trigger": "movement_append_only", "table": "catalog_stockmovement"})]
