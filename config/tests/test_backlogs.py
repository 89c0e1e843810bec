"""How old each backlog is, on the real engines: what closes the door to further orders and claims."""

import pytest

from config.tests.building import claim, make_campaign, make_product, make_user, place, run, settle
from coupons import flows as coupon_flows
from coupons.tasks import RECORD_CLAIMS
from orders import queries as order_queries
from orders.tasks import RESERVE_STOCK
from shop import admission, db
from shop.admission import Worth
from shop.models import ParkedItem
from shop.testing import dead_server, redis_at

pytestmark = pytest.mark.usefixtures("committed_db")


def orders_of_ages(*seconds):
    user, product = make_user(balance=1_000_000), make_product(stock=100, price=100)
    made = [place(user, (product, 1)) for _ in seconds]
    for order_id, age in zip(made, seconds, strict=True):
        db.rows("UPDATE orders_order SET created_at = now() - %s * interval '1 s' WHERE id = %s", [age, order_id])
    return made


def park(stage, item_id):
    ParkedItem.objects.create(
        stage=stage, item_id=item_id, attempts=1, last_error="x", updated_at="2026-01-01T00:00:00Z"
    )


def test_the_oldest_unsettled_order_counts_whatever_its_stage():
    assert order_queries.oldest_unsettled_seconds() == 0.0
    orders_of_ages(50, 30, 10)
    assert order_queries.oldest_unsettled_seconds() == pytest.approx(50, abs=5)
    run(RESERVE_STOCK, limit=1)
    assert order_queries.oldest_unsettled_seconds() == pytest.approx(50, abs=5)
    settle()
    assert order_queries.oldest_unsettled_seconds() == 0.0


def test_an_order_set_aside_does_not_close_the_shop():
    oldest, *_ = orders_of_ages(50, 10)
    park("orders.reserve_stock", oldest)
    assert order_queries.oldest_unsettled_seconds() == pytest.approx(10, abs=5)


def test_an_order_that_awaits_its_coupon_does_not_close_the_shop():
    user = make_user(balance=1_000)
    product, issuance_id = make_product(stock=1, price=100), claim(user, make_campaign()).issuance_id
    order_id = place(user, (product, 1), issuance_id=issuance_id)
    run(RESERVE_STOCK)

    def age(seconds):
        made = "UPDATE orders_order SET created_at = now() - %s * interval '1 s' WHERE id = %s"
        db.rows(made, [seconds, order_id])
        return order_queries.oldest_unsettled_seconds()

    assert age(45) == 0.0
    assert age(55) == pytest.approx(55, abs=5)  # nobody has given up for it: the stage stands still
    run(RECORD_CLAIMS)
    assert age(25) == pytest.approx(25, abs=5)


def test_the_age_is_read_through_the_index_of_unsettled_orders():
    orders_of_ages(1)
    db.rows("SET enable_seqscan = off")
    try:
        plan = str(db.rows("EXPLAIN " + order_queries.OLDEST_UNSETTLED))
    finally:
        db.rows("RESET enable_seqscan")
    assert plan.count("order_unsettled") == 3


def test_the_oldest_unrecorded_claim_counts(monkeypatch):
    assert coupon_flows.oldest_unrecorded_seconds() == 0.0
    claimed = claim(make_user(), make_campaign())
    first = coupon_flows.gate.list_claims(limit=1)[0]
    monkeypatch.setattr(coupon_flows.gate, "clock", lambda: first.taken_at + 25.0)
    assert coupon_flows.oldest_unrecorded_seconds() == 25.0
    park("coupons.record_claims", claimed.issuance_id)
    assert coupon_flows.oldest_unrecorded_seconds() == 0.0


def test_the_web_looks_at_both_and_at_one_when_redis_is_away(monkeypatch):
    monkeypatch.setattr(admission, "_closed", {})
    assert {worth for worth, _look in admission._backlogs} == {Worth.ORDER, Worth.CLAIM}
    orders_of_ages(50)
    with redis_at("gate", dead_server()):
        admission.look_at_backlogs()
    assert [*admission._closed] == [Worth.ORDER]
    settle()
    admission.look_at_backlogs()
    assert admission._closed == {}
