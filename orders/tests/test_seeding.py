"""Seeding from users to settled orders; that the result is sound is what the audit says (test_invariants)."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from orders.models import Order, OrderHistory, OrderLine
from shop import db, seeding
from shop.invariants import find_violations
from shop.models import User

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
WISH = seeding.Wish(counts={"users": 30, "products": 40, "coupons": 2, "orders": 300})
SEEDED_TABLES = """
    shop_user, balance_account, balance_wallet, balance_transfer, catalog_product, catalog_stock, catalog_stockmovement,
    catalog_dailysales, coupons_campaign, orders_order, orders_orderline, orders_orderhistory
"""


def seed(wish=WISH, now=NOW):
    return seeding.seed(wish=wish, now=now, progress=lambda *_: None)


def start_over():
    db.rows("SET CONSTRAINTS ALL IMMEDIATE")
    db.rows(f"TRUNCATE {SEEDED_TABLES} RESTART IDENTITY CASCADE")
    db.rows("INSERT INTO balance_account (kind) VALUES ('house_cash'), ('house_revenue')")


def everything():
    tables = [name.strip() for name in SEEDED_TABLES.split(",")]
    return {name: db.rows(f"SELECT * FROM {name} ORDER BY 1, 2") for name in tables}  # noqa: S608 - names of ours


@pytest.mark.django_db
def test_seed_adds_what_was_asked_for_and_the_audit_is_clean():
    blocks = seed()

    assert {name: len(ids) for name, ids in blocks.items()} == dict(WISH.counts)
    assert list(Order.objects.order_by("pk").values_list("pk", flat=True)) == list(blocks["orders"])
    assert set(Order.objects.values_list("status", "failure_code")) == {
        ("paid", ""),
        ("cancelled", ""),
        ("failed", "out_of_stock"),
        ("failed", "insufficient_balance"),
    }
    assert find_violations(drained=True) == []


@pytest.mark.django_db
def test_seed_of_the_same_number_gives_the_same_data():
    start_over()
    seed()
    first = everything()
    start_over()
    seed()
    assert everything() == first

    start_over()
    seed(seeding.Wish(counts=WISH.counts, seed=2))
    assert db.rows("SELECT name FROM catalog_product") != [(row[2],) for row in first["catalog_product"]]


@pytest.mark.django_db
def test_seed_again_adds_to_what_is_there():
    seed()
    seed(seeding.Wish(counts={"users": 2, "orders": 20}, seed=7))

    assert list(User.objects.order_by("-pk").values_list("username", flat=True)[:2]) == ["user0000032", "user0000031"]
    assert Order.objects.filter(user__username__in=["user0000031", "user0000032"]).count() == 20
    assert find_violations(drained=True) == []


@pytest.mark.django_db
def test_seed_orders_alone_belong_to_the_users_there_are():
    seed(seeding.Wish(counts={"users": 3, "products": 1}, options={"balance": 0, "stock": 1}))
    seed(seeding.Wish(counts={"orders": 50}))

    assert Order.objects.count() == OrderLine.objects.count() == 50
    assert find_violations(drained=True) == []


@pytest.mark.django_db
@pytest.mark.parametrize("counts", [{"orders": 1}, {"orders": 1, "users": 5}, {"orders": 1, "products": 5}])
def test_seed_orders_without_users_or_products_refuses_and_adds_nothing(counts):
    with pytest.raises(seeding.CannotSeed, match="need users and products"):
        seed(seeding.Wish(counts=counts))
    assert (User.objects.count(), Order.objects.count()) == (0, 0)


@pytest.mark.django_db
def test_seeded_orders_are_of_the_last_90_days_in_the_order_of_their_ids():
    seed()
    created = list(Order.objects.order_by("pk").values_list("created_at", flat=True))
    assert created == sorted(created)
    assert NOW - timedelta(days=90) <= created[0] < created[-1] < NOW
    assert not OrderHistory.objects.filter(at__gt=NOW).exists()


@pytest.mark.usefixtures("committed_db")
def test_seed_in_two_lanes_is_as_sound_and_leaves_the_guards_on(monkeypatch):
    monkeypatch.setattr("orders.seeding.LANE_LEAST", 10)
    orders, lanes = seeding.subjects()["orders"], set()
    monkeypatch.setattr(orders, "rows_per_chunk", 50)
    monkeypatch.setattr(
        orders, "fillers", [*orders.fillers, lambda chunk: lanes.add((chunk.lane, threading.get_ident()))]
    )

    seed()
    assert len(lanes) == 2
    assert find_violations(drained=True) == []
    seeding.tidy(lambda *_: None)
    assert db.rows("SHOW session_replication_role") == [("origin",)]


@pytest.mark.usefixtures("committed_db")
def test_a_chunk_that_fails_ends_the_run_and_what_is_there_is_sound(monkeypatch):
    orders = seeding.subjects()["orders"]
    monkeypatch.setattr("orders.seeding.LANE_LEAST", 10)
    monkeypatch.setattr(orders, "rows_per_chunk", 50)

    def fail_in_the_third(chunk):
        if chunk.done == 100:
            raise RuntimeError("no space left")

    monkeypatch.setattr(orders, "fillers", [*orders.fillers, fail_in_the_third])
    with pytest.raises(RuntimeError, match="no space left"):
        seed()
    assert Order.objects.count() in range(0, 250, 50)
    assert find_violations(drained=True) == []


@pytest.mark.django_db
def test_seeding_works_for_a_role_that_may_not_skip_foreign_keys():
    db.rows("CREATE ROLE plain; GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
    db.rows("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain; SET LOCAL ROLE plain")
    seed()
    db.rows("SET CONSTRAINTS ALL IMMEDIATE")
    assert find_violations(drained=True) == []
