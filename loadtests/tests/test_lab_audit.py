"""The lab's audit names what is wrong: each kind of damage, planted into a run that was clean."""

from collections.abc import Iterator

import psycopg
import pytest

from loadtests.lab import audit
from loadtests.lab.means import Servers
from loadtests.tests.lab_bench import Bench, bench, market, opened

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Servers, psycopg.Connection]]:
    with opened() as where:
        yield where


@pytest.fixture
def shop(place: tuple[Servers, psycopg.Connection]) -> Iterator[Bench]:
    """Yield a shop with orders 1 (paid), 41 (paid with coupon 1), 42 (coupon used) and nothing wrong."""
    with bench(*place, market()) as filled:
        orders = {order.number: order for order in market().orders}
        for number in (1, 41, 42):
            filled.place("for-update", orders[number])
        yield filled


PLANTED = {
    "lost": (
        """
        WITH gone AS (DELETE FROM locklab.orders WHERE number = 42 RETURNING id)
        DELETE FROM locklab.line USING gone WHERE order_id = id
        """,
        {"no_order_lost": ["order 42: the customer was told coupon_used, there is no such order"]},
    ),
    "doubled debit": (
        """
        WITH again AS (INSERT INTO locklab.transfer SELECT * FROM locklab.transfer WHERE user_id = 21 RETURNING *)
        UPDATE locklab.wallet SET balance = balance - amount FROM again WHERE wallet.user_id = again.user_id
        """,
        {"paid_exactly_once": ["order 1 is paid: 2 transfers, together 4000 of 2000"]},
    ),
    "debit without transfer": (
        "UPDATE locklab.wallet SET balance = balance - 5 WHERE user_id = 21",
        {
            "money_conserved": ["wallets held 99003000 and hold 98999295, transfers say 3700"],
            "wallet_is_its_transfers": ["user 21 has 997995, should have 998000"],
        },
    ),
    "overdrawn": (
        "UPDATE locklab.wallet SET initial = 1500, balance = -500 WHERE user_id = 21",
        {"wallet_not_negative": ["user 21 has -500"]},
    ),
    "oversold": (
        "UPDATE locklab.stock SET initial = 0, available = -1 WHERE product_id = 1",
        {"not_oversold": ["product 1: 1 sold of 0, -1 left"]},
    ),
    "lost update": (
        "UPDATE locklab.stock SET available = available + 1 WHERE product_id = 2",
        {"stock_is_its_movements": ["product 2 has 999, should have 998"]},
    ),
    "taken twice": (
        """
        WITH again AS (INSERT INTO locklab.movement SELECT * FROM locklab.movement WHERE product_id = 1 RETURNING *)
        UPDATE locklab.stock SET available = available - quantity FROM again WHERE stock.product_id = again.product_id
        """,
        {"stock_taken_exactly_once": ["order 1 is paid: took 2 of product 1, wanted 1"]},
    ),
    "coupon free again": (
        "UPDATE locklab.coupon SET used_by = NULL",
        {"coupon_spent_at_most_once": ["coupon 1: used by order none, paid orders 2"]},
    ),
    "discount for nothing": (
        """
        WITH dearer AS (UPDATE locklab.orders SET discount = 0, total = subtotal WHERE number = 41 RETURNING id),
        more AS (UPDATE locklab.transfer SET amount = 2000 FROM dearer WHERE order_id = id RETURNING user_id)
        UPDATE locklab.wallet SET balance = initial - 2000 FROM more WHERE wallet.user_id = more.user_id
        """,
        {"totals_add_up": ["order 41: 2000 - 0 = 2000, lines 2000"]},
    ),
    "left behind": (
        "UPDATE locklab.orders SET state = 'pending' WHERE number = 42",
        {
            "as_the_customer_was_told": ["order 42: the customer was told coupon_used, it is pending coupon_used"],
            "every_order_settled": ["order 42 is still pending"],
        },
    ),
    "there twice": (
        """
        INSERT INTO locklab.orders (number, user_id, subtotal, discount, total, state, refusal)
        VALUES (42, 5, 0, 0, 0, 'failed', 'coupon_used')
        """,
        {"no_order_twice": ["order 42 is there 2 times"]},
    ),
    "told otherwise": (
        "UPDATE locklab.orders SET refusal = 'no_money' WHERE number = 42",
        {"as_the_customer_was_told": ["order 42: the customer was told coupon_used, it is failed no_money"]},
    ),
}


@pytest.mark.parametrize("damage", PLANTED)
def test_audit_names_the_damage(damage: str, shop: Bench) -> None:
    sql, expected = PLANTED[damage]
    shop.connection.execute(sql)
    assert shop.found() == expected


def test_every_check_has_found_something() -> None:
    assert {check for _sql, expected in PLANTED.values() for check in expected} == set(audit.CHECKS)


def test_nothing_is_found_where_nothing_is_wrong(shop: Bench) -> None:
    assert shop.found() == {}


@pytest.mark.parametrize("said", ["timed_out", "deadlock", "gave_up"])
def test_an_order_that_failed_may_be_absent_but_not_paid(said: str, shop: Bench) -> None:
    shop.answers |= {77: said}
    assert shop.found() == {}
    shop.connection.execute("TRUNCATE locklab.answer")
    shop.answers |= {1: said}
    assert shop.found() == {
        "as_the_customer_was_told": [f"order 1: the customer was told {said}, it is paid "],
    }


def test_a_sale_nobody_was_told_of_is_found(shop: Bench) -> None:
    del shop.answers[1]
    assert shop.found() == {"as_the_customer_was_told": ["order 1: the customer was told nothing, it is paid "]}
