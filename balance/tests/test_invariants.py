"""Each invariant of the ledger must name the one row that is broken, and nothing else."""

import pytest
from django.utils import timezone

from balance import flows
from orders.tests import sound_shop
from shop import db
from shop.invariants import find_violations
from shop.models import User

pytestmark = pytest.mark.django_db


def found():
    return [(violation.invariant, violation.row) for violation in find_violations(drained=False)]


@pytest.fixture(autouse=True)
def shop():
    built = sound_shop.build()
    assert found() == []
    return built


@pytest.mark.parametrize("more", [1, -1])
def test_m1_names_a_wallet_that_is_not_the_sum_of_its_transfers(more):
    [(account_id, balance)] = db.rows("SELECT account_id, balance FROM balance_wallet ORDER BY balance DESC LIMIT 1")
    sound_shop.damage(
        "UPDATE balance_wallet SET balance = balance + %(more)s WHERE account_id = %(id)s", more=more, id=account_id
    )
    assert found() == [("M1", {"account_id": account_id, "balance": balance + more, "transfers": balance})]


def test_m1_names_a_wallet_with_money_but_no_transfer():
    [(account_id,)] = db.rows(
        """
        WITH account AS (INSERT INTO balance_account (kind) VALUES ('wallet') RETURNING id), newcomer AS (
            INSERT INTO shop_user (username, password, first_name, last_name, email, is_superuser, is_staff, is_active,
                                   date_joined, token_generation)
            VALUES ('newcomer', '!', '', '', '', false, false, true, now(), 0) RETURNING id
        )
        INSERT INTO balance_wallet (account_id, user_id, balance, updated_at)
        SELECT account.id, newcomer.id, 7, now() FROM account, newcomer RETURNING account_id
        """
    )
    assert found() == [("M1", {"account_id": account_id, "balance": 7, "transfers": 0})]


def test_m2_names_the_transfer_after_a_lost_update():
    [(transfer_id, account_id, after)] = db.rows(
        "SELECT id, debit_account_id, balance_after FROM balance_transfer WHERE kind = 'payment' ORDER BY id LIMIT 1"
    )
    sound_shop.damage("UPDATE balance_transfer SET balance_after = balance_after + 1 WHERE id = %(id)s", id=transfer_id)
    assert found() == [
        (
            "M2",
            {"transfer_id": transfer_id, "account_id": account_id, "balance_after": after + 1, "should_be": after},
        )
    ]


def test_m2_names_a_balance_below_zero_even_if_it_adds_up():
    db.rows("ALTER TABLE balance_transfer DROP CONSTRAINT transfer_balance_after_not_negative")
    [(account_id, balance)] = db.rows("SELECT account_id, balance FROM balance_wallet ORDER BY balance DESC LIMIT 1")
    [(transfer_id,)] = db.rows(
        """
        WITH down AS (
            INSERT INTO balance_transfer
                (kind, reference, debit_account_id, credit_account_id, amount, balance_after, reason, created_at)
            VALUES ('adjustment', 'down', %(id)s, 1, %(balance)s + 5, -5, '', now()) RETURNING id
        )
        SELECT id FROM down
        """,
        {"id": account_id, "balance": balance},
    )
    [(up_id,)] = db.rows(
        """
        INSERT INTO balance_transfer
            (kind, reference, debit_account_id, credit_account_id, amount, balance_after, reason, created_at)
        VALUES ('adjustment', 'up', 1, %(id)s, %(balance)s + 5, %(balance)s, '', now()) RETURNING id
        """,
        {"id": account_id, "balance": balance},
    )
    assert found() == [
        ("M2", {"transfer_id": transfer_id, "account_id": account_id, "balance_after": -5, "should_be": -5}),
        ("M7", {"transfer_id": transfer_id}),
        ("M7", {"transfer_id": up_id}),
        ("X1", {"constraint": "transfer_balance_after_not_negative"}),
    ]


def test_m7_names_an_adjustment_nobody_answers_for():
    [(wallet_id,)] = db.rows("SELECT min(account_id) FROM balance_wallet")
    operator_id = User.objects.create(username="clerk", is_staff=True).pk
    [(user_id,)] = db.rows("SELECT user_id FROM balance_wallet WHERE account_id = %s", [wallet_id])
    now = timezone.now()
    transfer_id = flows.adjust_balance(user_id=user_id, amount=5, reason="a slip", operator_id=operator_id, now=now)
    assert found() == []
    sound_shop.damage("DELETE FROM shop_operatoraction WHERE object_id = %(id)s", id=transfer_id)
    assert found() == [("M7", {"transfer_id": transfer_id})]


def test_m7_names_an_adjustment_written_down_with_another_amount():
    operator_id = User.objects.create(username="clerk", is_staff=True).pk
    [(user_id,)] = db.rows("SELECT min(user_id) FROM balance_wallet")
    now = timezone.now()
    transfer_id = flows.adjust_balance(user_id=user_id, amount=5, reason="a slip", operator_id=operator_id, now=now)
    sound_shop.damage("UPDATE shop_operatoraction SET amount = 6 WHERE object_id = %(id)s", id=transfer_id)
    assert found() == [("M7", {"transfer_id": transfer_id})]


def test_m3_names_a_transfer_between_accounts_its_kind_does_not_allow():
    [(transfer_id,)] = db.rows("SELECT min(id) FROM balance_transfer WHERE kind = 'charge'")
    sound_shop.damage("UPDATE balance_transfer SET debit_account_id = 2 WHERE id = %(id)s", id=transfer_id)
    row = {"transfer_id": transfer_id, "kind": "charge", "debit": "house_revenue", "credit": "wallet"}
    assert found() == [("M3", row)]


def test_m3_and_x3_name_a_transfer_from_an_account_that_does_not_exist():
    [(transfer_id,)] = db.rows("SELECT min(id) FROM balance_transfer WHERE kind = 'charge'")
    sound_shop.damage("UPDATE balance_transfer SET debit_account_id = 999999999999 WHERE id = %(id)s", id=transfer_id)
    orphan = {"table": "balance_transfer", "id": transfer_id, "column": "debit_account_id", "parent": 999_999_999_999}
    assert found() == [
        ("M3", {"transfer_id": transfer_id, "kind": "charge", "debit": None, "credit": "wallet"}),
        ("X3", orphan),
    ]


def test_m6_names_a_wallet_account_without_a_wallet():
    [(account_id,)] = db.rows("INSERT INTO balance_account (kind) VALUES ('wallet') RETURNING id")
    assert found() == [("M6", {"account_id": account_id, "kind": "wallet"})]


def test_m6_names_a_house_account_that_is_gone():
    sound_shop.damage("DELETE FROM balance_account WHERE id = 2")
    violations = found()
    assert [row for name, row in violations if name == "M6"] == [{"account_id": 2, "kind": "house_revenue"}]
    assert {name for name, _ in violations} == {"M3", "M6", "X3"}  # payments and refunds have lost their other side


def test_x2_names_the_ledgers_trigger_when_it_is_off_or_gone():
    row = {"trigger": "transfer_append_only", "table": "balance_transfer"}
    db.rows("ALTER TABLE balance_transfer DISABLE TRIGGER transfer_append_only")
    assert found() == [("X2", row)]
    db.rows("DROP TRIGGER transfer_append_only ON balance_transfer")
    assert found() == [("X2", row)]
    db.rows(
        """
        CREATE TRIGGER transfer_append_only BEFORE UPDATE ON balance_transfer
        FOR EACH ROW EXECUTE FUNCTION shop_refuse_change()
        """
    )
    assert found() == [("X2", row)]  # DELETE is not refused
