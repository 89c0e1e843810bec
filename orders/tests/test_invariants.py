"""Each invariant of orders must name the one row that is broken, and nothing else."""

import pytest
from django.utils import timezone

from orders import flows
from orders.states import Status
from orders.tests import sound_shop
from shop import db
from shop.invariants import find_violations

pytestmark = pytest.mark.django_db

NO_ORDER = 999_999_999_999


def found(*, drained=False):
    return [(violation.invariant, violation.row) for violation in find_violations(drained=drained)]


def one(statement, **params):
    rows = db.rows(statement, params)
    assert rows, "the sound shop has no such row"
    return rows[0]


@pytest.fixture
def shop():
    built = sound_shop.build()
    assert found() == []
    return built


def test_m4_names_an_order_that_was_cancelled_but_not_refunded(shop):
    order_id = shop.orders[Status.PAID]
    flows.cancel_order(order_id=order_id, user_id=None, reason="", key=None, now=timezone.now())
    assert found() == []
    transfer_id, account_id, amount = one(  # the wallet's last transfer, so that only the refund is missing without it
        "SELECT id, credit_account_id, amount FROM balance_transfer WHERE kind = 'refund' AND order_id = %(id)s",
        id=order_id,
    )
    sound_shop.damage("DELETE FROM balance_transfer WHERE id = %(id)s", id=transfer_id)
    sound_shop.damage(
        "UPDATE balance_wallet SET balance = balance - %(amount)s WHERE account_id = %(account)s",
        amount=amount,
        account=account_id,
    )
    assert found() == [
        (
            "M4",
            {
                "order_id": order_id,
                "status": "cancelled",
                "total": amount,
                "payments": 1,
                "refunds": 0,
                "amount": amount,
            },
        )
    ]


def test_m4_names_both_orders_when_one_is_paid_twice_and_the_other_never(shop):
    first, second = one(
        """
        SELECT min(id), max(id) FROM orders_order WHERE status = 'paid' GROUP BY user_id HAVING count(*) > 1 LIMIT 1
        """
    )
    sound_shop.damage(
        "UPDATE balance_transfer SET order_id = %(second)s WHERE order_id = %(first)s", first=first, second=second
    )
    assert [(name, row["order_id"], row["payments"]) for name, row in found()] == [("M4", first, 0), ("M4", second, 2)]


def test_m4_names_an_order_that_was_paid_with_another_amount(shop):
    order_id = shop.orders["paid"]
    sound_shop.damage(
        """
        UPDATE balance_transfer SET amount = amount + 1, balance_after = balance_after - 1 WHERE order_id = %(id)s;
        UPDATE balance_wallet SET balance = balance - 1
        WHERE account_id = (SELECT debit_account_id FROM balance_transfer WHERE order_id = %(id)s)
        """,
        id=order_id,
    )
    assert [(name, row["order_id"]) for name, row in found()] == [("M4", order_id)]


def test_m5_names_a_payment_from_another_users_wallet(shop):
    order_id, owner = one("SELECT id, user_id FROM orders_order WHERE status = 'paid' ORDER BY id LIMIT 1")
    (other,) = one("SELECT min(user_id) FROM balance_wallet WHERE user_id <> %(owner)s", owner=owner)
    sound_shop.damage("UPDATE orders_order SET user_id = %(other)s WHERE id = %(id)s", other=other, id=order_id)
    (transfer_id,) = one("SELECT id FROM balance_transfer WHERE order_id = %(id)s", id=order_id)
    assert found() == [
        (
            "M5",
            {"transfer_id": transfer_id, "kind": "payment", "order_id": order_id, "owner": other, "wallet_of": owner},
        )
    ]


def test_m5_names_a_charge_that_claims_an_order(shop):
    db.rows("ALTER TABLE balance_transfer DROP CONSTRAINT transfer_order_only_for_payment_and_refund")
    (transfer_id,) = one("SELECT min(id) FROM balance_transfer WHERE kind = 'charge'")
    sound_shop.damage(
        "UPDATE balance_transfer SET order_id = %(order)s WHERE id = %(id)s", order=NO_ORDER, id=transfer_id
    )
    violations = found()
    assert [(name, row.get("transfer_id"), row.get("order_id")) for name, row in violations] == [
        ("M5", transfer_id, NO_ORDER),
        ("X1", None, None),
    ]


@pytest.mark.parametrize(
    ("kind", "condition", "reserved", "released"),
    [("reserve", "o.status = 'paid'", 0, 0), ("release", "o.status IN ('failed', 'cancelled')", None, 0)],
)
def test_s2_names_a_line_whose_goods_did_not_move(shop, kind, condition, reserved, released):
    movement_id, order_id, product_id, delta = one(
        f"""
        SELECT v.id, v.order_id, v.product_id, delta FROM catalog_stockmovement v JOIN orders_order o ON o.id = order_id
        WHERE kind = %(kind)s AND {condition} ORDER BY v.id LIMIT 1
        """,  # noqa: S608 - the conditions above
        kind=kind,
    )
    sound_shop.damage("DELETE FROM catalog_stockmovement WHERE id = %(id)s", id=movement_id)
    sound_shop.damage(
        "UPDATE catalog_stock SET available = available - %(delta)s WHERE product_id = %(id)s",
        delta=delta,
        id=product_id,
    )
    [(name, row)] = found()
    assert (name, row["order_id"], row["product_id"]) == ("S2", order_id, product_id)
    assert (row["reserved"], row["released"]) == (row["quantity"] if reserved is None else reserved, released)


def test_s2_lets_a_refused_order_hold_its_goods_but_not_a_failed_one(shop):
    order_id = shop.orders["refused"]
    sound_shop.damage(
        """
        UPDATE orders_order SET status = 'failed', failure_code = refusal, refusal = '', settled_at = created_at
        WHERE id = %(id)s;
        INSERT INTO orders_orderhistory (order_id, status, at, reason)
        SELECT id, 'failed', created_at, '' FROM orders_order WHERE id = %(id)s
        """,
        id=order_id,
    )
    assert [(name, row["order_id"], row["released"]) for name, row in found()] == [("S2", order_id, 0)]


def test_s3_names_a_movement_without_a_line(shop):
    (movement_id,) = one("SELECT min(id) FROM catalog_stockmovement WHERE kind = 'restock'")
    sound_shop.damage(
        "UPDATE catalog_stockmovement SET kind = 'release', order_id = %(order)s WHERE id = %(id)s",
        order=NO_ORDER,
        id=movement_id,
    )
    [(name, row)] = found()
    assert (name, row["movement_id"], row["order_id"]) == ("S3", movement_id, NO_ORDER)


def test_s3_names_a_movement_whose_sign_does_not_follow_its_kind(shop):
    db.rows("ALTER TABLE catalog_stockmovement DROP CONSTRAINT movement_sign_follows_kind")
    order_id, product_id = one(
        "SELECT order_id, product_id FROM catalog_stockmovement WHERE kind = 'release' ORDER BY id LIMIT 1"
    )
    sound_shop.damage(
        "UPDATE catalog_stockmovement SET delta = -delta WHERE order_id = %(order)s AND product_id = %(product)s",
        order=order_id,
        product=product_id,
    )
    assert [(name, row.get("order_id"), row.get("product_id")) for name, row in found()] == [
        ("S2", order_id, product_id),
        ("S3", order_id, product_id),
        ("S3", order_id, product_id),
        ("X1", None, None),
    ]


def test_c2_names_the_coupon_of_a_live_order_that_is_not_used(shop):
    issuance_id = shop.issuances["used by paid"]
    sound_shop.damage(
        "UPDATE coupons_issuance SET status = 'issued', used_at = NULL, order_id = NULL WHERE id = %(id)s",
        id=issuance_id,
    )
    assert found() == [
        ("C2", {"issuance_id": issuance_id, "status": "issued", "used_by": None, "order_id": shop.orders["paid"]})
    ]


def test_c2_names_a_used_coupon_whose_order_is_not_live(shop):
    issuance_id, order_id = shop.issuances["issued"], shop.orders["pending"]
    sound_shop.damage(
        "UPDATE coupons_issuance SET status = 'used', used_at = %(now)s, order_id = %(order)s WHERE id = %(id)s",
        now=shop.now,
        order=order_id,
        id=issuance_id,
    )
    assert found() == [("C2", {"issuance_id": issuance_id, "status": "used", "used_by": order_id, "order_id": None})]


def test_c2_names_a_live_order_whose_coupon_does_not_exist(shop):
    order_id = shop.orders["coupon_applied"]
    sound_shop.damage("UPDATE orders_order SET issuance_id = %(none)s WHERE id = %(id)s", none=NO_ORDER, id=order_id)
    assert [(name, row["issuance_id"], row["order_id"]) for name, row in found()] == [
        ("C2", shop.issuances["used by coupon_applied"], None),
        ("C2", NO_ORDER, order_id),
    ]


def test_o1_names_an_order_whose_lines_cost_something_else(shop):
    (order_id,) = one("SELECT min(id) FROM orders_order WHERE status = 'failed'")
    sound_shop.damage(
        """
        UPDATE orders_orderline SET unit_price = unit_price + 1, quantity = 1
        WHERE id = (SELECT min(id) FROM orders_orderline WHERE order_id = %(id)s AND quantity = 1)
        """,
        id=order_id,
    )
    [(name, row)] = found()
    assert (name, row["order_id"], row["lines"]) == ("O1", order_id, row["subtotal"] + 1)


def test_o1_names_an_order_without_lines(shop):
    (order_id,) = one("SELECT min(id) FROM orders_order WHERE failure_code = 'out_of_stock'")
    sound_shop.damage("DELETE FROM orders_orderline WHERE order_id = %(id)s", id=order_id)
    [(name, row)] = found()
    assert (name, row["order_id"], row["lines"]) == ("O1", order_id, None)


@pytest.mark.parametrize(
    ("change", "should_be"),
    [
        ("discount_value = discount_value + 1", 501),
        ("min_order_amount = 1000000000", 500),
        ("discount_type = 'percent', discount_value = 100, max_discount = 3", 3),
    ],
)
def test_o2_names_an_order_with_another_discount_than_promised(shop, change, should_be):
    sound_shop.damage(
        f"UPDATE coupons_campaign SET {change} WHERE id = %(id)s",  # noqa: S608 - the changes above
        id=shop.campaign_ids[0],
    )
    [(name, row)] = found()
    assert (name, row["order_id"], row["discount"], row["should_be"]) == ("O2", shop.orders["paid"], 500, should_be)


def test_o3_names_an_order_that_skipped_a_step(shop):
    order_id = shop.orders["paid"]
    sound_shop.damage(
        "DELETE FROM orders_orderhistory WHERE order_id = %(id)s AND status = 'coupon_applied'", id=order_id
    )
    assert found() == [("O3", {"order_id": order_id, "previous": "stock_reserved", "status": "paid"})]


def test_o3_names_an_order_that_did_not_begin_as_pending(shop):
    order_id = shop.orders["stock_reserved"]
    sound_shop.damage("DELETE FROM orders_orderhistory WHERE order_id = %(id)s AND status = 'pending'", id=order_id)
    assert found() == [("O3", {"order_id": order_id, "previous": "", "status": "stock_reserved"})]


def test_o3_names_an_order_whose_last_step_is_missing(shop):
    (order_id,) = one("SELECT min(id) FROM orders_order WHERE status = 'cancelled'")
    sound_shop.damage("DELETE FROM orders_orderhistory WHERE order_id = %(id)s AND status = 'cancelled'", id=order_id)
    assert found() == [("O3", {"order_id": order_id, "previous": "paid", "status": "cancelled"})]


def test_o3_names_an_order_without_history(shop):
    order_id = shop.orders["pending"]
    sound_shop.damage("DELETE FROM orders_orderhistory WHERE order_id = %(id)s", id=order_id)
    assert found() == [("O3", {"order_id": order_id, "previous": None, "status": "pending"})]


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("order_settled_at_iff_settled", "settled_at = NULL"),
        ("order_failure_code_iff_failed", "failure_code = ''"),
        ("order_refusal_only_before_release", "refusal = 'out_of_stock'"),
    ],
)
def test_o4_names_a_failed_order_whose_columns_do_not_fit(shop, constraint, change):
    db.rows(f"ALTER TABLE orders_order DROP CONSTRAINT {constraint}")
    (order_id,) = one("SELECT min(id) FROM orders_order WHERE status = 'failed'")
    sound_shop.damage(
        f"UPDATE orders_order SET {change} WHERE id = %(id)s",  # noqa: S608 - the changes above
        id=order_id,
    )
    violations = found()
    assert [(name, row.get("order_id"), row.get("constraint")) for name, row in violations] == [
        ("O4", order_id, None),
        ("X1", None, constraint),
    ]


def test_o5_names_an_order_left_behind_for_a_minute(shop):
    order_id = shop.orders["coupon_applied"]
    sound_shop.damage(
        "UPDATE orders_order SET created_at = now() - interval '61 seconds' WHERE id = %(id)s", id=order_id
    )
    [(name, row)] = found()
    assert (name, row["order_id"], row["status"]) == ("O5", order_id, "coupon_applied")


def test_o6_names_a_refused_order_that_still_holds_goods_after_a_minute(shop):
    order_id = shop.orders["refused"]
    sound_shop.damage(
        """
        UPDATE orders_order SET created_at = now() - interval '1 hour' WHERE id = %(id)s;
        UPDATE orders_orderhistory SET at = now() - interval '61 seconds' WHERE order_id = %(id)s
        """,
        id=order_id,
    )
    [(name, row)] = found()
    assert (name, row["order_id"], row["refusal"]) == ("O6", order_id, "issuance_not_usable")
    assert row["since"] < timezone.now()


def test_what_was_accepted_after_the_look_at_the_backlogs_is_under_way_not_left_behind(shop):
    ((first,),) = db.rows("SELECT min(created_at) FROM orders_order WHERE status = 'pending' OR refusal <> ''")
    assert find_violations(drained=True, looked_at=first) == []


def test_drained_means_that_no_order_of_any_age_is_under_way(shop):
    assert [(name, row["order_id"]) for name, row in found(drained=True)] == [
        ("O5", shop.orders["pending"]),
        ("O5", shop.orders["stock_reserved"]),
        ("O5", shop.orders["coupon_applied"]),
        ("O6", shop.orders["refused"]),
    ]


@pytest.mark.parametrize(("column", "more"), [("units", 1), ("revenue", -100)])
def test_d1_names_the_day_and_product_with_other_sales_than_the_orders(shop, column, more):
    date, product_id, value = one(
        f"SELECT date, product_id, {column} FROM catalog_dailysales ORDER BY id LIMIT 1"  # noqa: S608 - see above
    )
    sound_shop.damage(
        f"UPDATE catalog_dailysales SET {column} = {column} + %(more)s WHERE date = %(date)s AND product_id = %(id)s",  # noqa: S608
        more=more,
        date=date,
        id=product_id,
    )
    [(name, row)] = found()
    assert (name, row["date"], row["product_id"]) == ("D1", date, product_id)
    assert (row[column], row[f"should_be_{column}"]) == (value + more, value)


def test_d1_counts_by_the_shops_calendar_and_forgives_days_that_sold_nothing(shop, settings):
    order_id = shop.orders["paid"]
    sound_shop.damage(
        "INSERT INTO catalog_dailysales (date, product_id, units, revenue) VALUES ('2001-01-01', %(id)s, 0, 0)",
        id=one("SELECT product_id FROM orders_orderline WHERE order_id = %(id)s", id=order_id)[0],
    )
    assert found() == []
    settings.SHOP_TIME_ZONE = "Pacific/Kiritimati"
    assert {name for name, _ in found()} == {"D1"}
