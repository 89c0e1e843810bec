"""The audit's run, its command, and the invariants of the kernel."""

import json

import pytest
from django.core.management import call_command
from django.utils import timezone

from orders.tests import sound_shop
from shop import connections, db
from shop.commands import CommandFailed, Exit
from shop.invariants import BASE_DIR, audit, compare_redis, find_violations, invariants
from shop.local.ports import free_port
from shop.models import ParkedItem


def found():
    return [(violation.invariant, violation.row) for violation in find_violations(drained=False)]


@pytest.fixture
def empty_redis(monkeypatch):
    monkeypatch.setattr("shop.invariants.LOOK_AGAIN_SECONDS", 0)
    clients = [connections.gate(), connections.cached(), connections.flags()]
    for client in clients:
        client.flushdb()
    yield
    for client in clients:
        client.flushdb()


@pytest.fixture
def committed_shop(committed_db, monkeypatch):
    monkeypatch.setattr("shop.invariants.LOOK_AGAIN_SECONDS", 0)
    return sound_shop.build()


def settle(shop):
    """Leave only settled orders: the others go, with what they held."""
    ids = [shop.orders[name] for name in ("pending", "stock_reserved", "coupon_applied", "refused")]
    with db.transaction():
        sound_shop.damage(
            """
            DELETE FROM orders_order WHERE id = ANY(%(ids)s);
            UPDATE coupons_issuance SET status = 'issued', used_at = NULL, order_id = NULL
            WHERE order_id = ANY(%(ids)s);
            UPDATE catalog_stock s SET available = available - delta FROM catalog_stockmovement v
            WHERE v.product_id = s.product_id AND v.order_id = ANY(%(ids)s);
            DELETE FROM catalog_stockmovement WHERE order_id = ANY(%(ids)s);
            DELETE FROM orders_orderhistory WHERE order_id = ANY(%(ids)s);
            DELETE FROM orders_orderline WHERE order_id = ANY(%(ids)s)
            """,
            ids=ids,
        )


def exit_code_of(*arguments):
    try:
        call_command(*arguments)
    except CommandFailed as failure:
        return failure.exit_code
    return Exit.OK


# --- the kernel's invariants ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_empty_shop_is_sound():
    assert found() == []


@pytest.mark.django_db
def test_p1_names_a_parked_item():
    ParkedItem.objects.create(
        stage="orders.take_payments", item_id=7, attempts=5, last_error="ValueError('x')", updated_at=timezone.now()
    )
    row = {"stage": "orders.take_payments", "item_id": 7, "attempts": 5, "error": "ValueError('x')"}
    assert found() == [("P1", row)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("ALTER TABLE balance_wallet DROP CONSTRAINT wallet_balance_not_negative", "wallet_balance_not_negative"),
        ("DROP INDEX issuance_once_per_user", "issuance_once_per_user"),
        ("DROP INDEX user_username_taken", "user_username_taken"),
        ("DROP INDEX transfer_once_per_effect", "transfer_once_per_effect"),
        (
            """
            ALTER TABLE catalog_stock DROP CONSTRAINT stock_available_not_negative;
            ALTER TABLE catalog_stock ADD CONSTRAINT stock_available_not_negative CHECK (available >= 0) NOT VALID
            """,
            "stock_available_not_negative",
        ),
        (
            """
            ALTER TABLE catalog_stock DROP CONSTRAINT stock_available_not_negative;
            ALTER TABLE catalog_stock ADD CONSTRAINT stock_available_not_negative CHECK (available >= 0) NOT ENFORCED
            """,
            "stock_available_not_negative",
        ),
    ],
)
def test_x1_names_a_constraint_that_is_gone_or_lets_rows_through(change, constraint):
    db.rows(change)
    assert found() == [("X1", {"constraint": constraint})]


@pytest.mark.django_db
def test_x1_names_a_foreign_key_that_is_not_enforced():
    [(name,)] = db.rows(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'orders_order'::regclass "
        "AND confrelid = 'shop_user'::regclass"
    )
    db.rows(f"ALTER TABLE orders_order ALTER CONSTRAINT {name} NOT ENFORCED")
    assert found() == [("X1", {"constraint": name})]


@pytest.mark.django_db
def test_x2_names_tables_whose_foreign_keys_are_switched_off():
    db.rows("ALTER TABLE orders_order DISABLE TRIGGER ALL")
    violations = found()
    assert {(name, row["table"]) for name, row in violations} == {("X2", "orders_order")}
    assert all(row["trigger"].startswith("RI_ConstraintTrigger") for _, row in violations)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("orders_orderhistory", "order_id", "(order_id, status, at, reason) VALUES (77, 'pending', now(), '')"),
        (
            "catalog_stockmovement",
            "product_id",
            "(product_id, kind, delta, reason, created_at) VALUES (77, 'restock', 1, '', now())",
        ),
    ],
)
def test_x3_names_a_row_without_its_parent(table, column, values):
    [(row_id,)] = db.rows(f"INSERT INTO {table} {values} RETURNING id")
    assert ("X3", {"table": table, "id": row_id, "column": column, "parent": 77}) in found()


@pytest.mark.django_db
def test_r6_names_a_flag_that_would_stay_for_ever(empty_redis):
    connections.flags().set("wake:orders.reserve_stock", 1, px=2_000)
    assert compare_redis(drained=True) == ([], [])
    connections.flags().set("wake:orders.release", 1)
    [violation] = compare_redis(drained=True)[0]
    assert (violation.invariant, violation.row) == ("R6", {"key": "wake:orders.release"})


@pytest.mark.django_db
def test_r7_names_an_answer_that_would_stay_for_ever(empty_redis):
    connections.cached().set("r:/products", "x", px=4_000)
    assert compare_redis(drained=True) == ([], [])
    connections.cached().persist("r:/products")
    [violation] = compare_redis(drained=True)[0]
    assert (violation.invariant, violation.row) == ("R7", {"key": "r:/products", "lives": "for ever"})


@pytest.mark.django_db
def test_r7_names_an_answer_that_would_stay_for_an_hour_though_its_time_runs(empty_redis, monkeypatch):
    monkeypatch.setattr("shop.invariants.LOOK_AGAIN_SECONDS", 0.01)
    connections.cached().set("r:/products", "x", px=3_600_000)
    [violation] = compare_redis(drained=True)[0]
    assert (violation.invariant, violation.row) == ("R7", {"key": "r:/products", "lives": "too long"})


@pytest.mark.django_db
def test_a_violation_in_redis_counts_when_it_is_there_twice(empty_redis, monkeypatch):
    connections.flags().set("wake:orders.release", 1)
    monkeypatch.setattr("shop.invariants.time.sleep", lambda _: connections.flags().delete("wake:orders.release"))
    assert compare_redis(drained=True) == ([], [])


def test_every_invariant_has_a_test_that_breaks_it():
    broken = "".join(path.read_text() for path in BASE_DIR.glob("*/tests/test_invariants.py"))
    untested = {item.name for item in invariants() if f"def test_{item.name.lower()}_" not in broken}
    assert untested == {"R3"}  # in test_r1_to_r3


# --- the run --------------------------------------------------------------------------------------------------------


def test_the_audit_looks_at_one_read_only_snapshot(committed_shop):
    seen = []
    audit(
        progress=lambda _: seen.append((db.rows("SHOW transaction_isolation"), db.rows("SHOW transaction_read_only")))
    )
    assert seen == [([("repeatable read",)], [("on",)])] * len(invariants())


def test_audit_of_a_settled_shop_is_clean_and_checks_everything(committed_shop, capsys):
    settle(committed_shop)
    assert exit_code_of("audit", "--json") == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["seconds"] >= 0
    assert document | {"seconds": 0} == {
        "clean": True,
        "checked": [item.name for item in invariants()],
        "unchecked": [],
        "seconds": 0,
        "violations": [],
    }


def test_audit_names_the_row_and_exits_3(committed_shop, capsys):
    settle(committed_shop)
    [(account_id, balance)] = db.rows(
        """
        UPDATE balance_wallet SET balance = balance + 1
        WHERE account_id = (SELECT min(account_id) FROM balance_wallet) RETURNING account_id, balance
        """
    )

    assert exit_code_of("audit") == Exit.VIOLATIONS
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "M1 a wallet's balance is the sum of its transfers: "
        f"account_id={account_id} balance={balance} transfers={balance - 1}"
    )
    assert lines[1].startswith(f"{len(invariants())} invariants checked in ")
    assert lines[1].endswith(" s: violated: M1 (1 row)")


def test_audit_under_load_says_what_it_could_not_judge(committed_shop, capsys):
    assert exit_code_of("audit") == Exit.OK
    assert capsys.readouterr().out.startswith("not checked while work is under way or Redis is away: R1, R2, R3\n")


def test_audit_that_waited_in_vain_names_what_is_under_way(committed_shop, capsys):
    assert exit_code_of("audit", "--wait", "0", "--json") == Exit.VIOLATIONS
    document = json.loads(capsys.readouterr().out)
    assert document["unchecked"] == []
    assert [(item["invariant"], item["row"]["order_id"]) for item in document["violations"]] == [
        ("O5", committed_shop.orders["pending"]),
        ("O5", committed_shop.orders["stock_reserved"]),
        ("O5", committed_shop.orders["coupon_applied"]),
        ("O6", committed_shop.orders["refused"]),
    ]


def test_audit_without_redis_still_checks_the_database(committed_shop, settings, capsys):
    settle(committed_shop)
    settings.GATE_URL = f"redis://127.0.0.1:{free_port()}/1"
    connections.gate.cache_clear()
    try:
        assert exit_code_of("audit", "--json") == Exit.VIOLATIONS
    finally:
        connections.gate.cache_clear()
    document = json.loads(capsys.readouterr().out)
    [violation] = document["violations"]
    assert violation["invariant"] == "R0"
    assert violation["row"]["error"].startswith("redis unreachable: ")
    assert document["unchecked"] == ["R1", "R2", "R3", "R4", "R6", "R7"]
    assert {"M1", "S1", "C1", "O1"} <= set(document["checked"])
