"""The words for transactions: who begins, who requires, what is undone, and what may fail without harm."""

from contextlib import suppress
from functools import partial

import pytest
from django.db import IntegrityError

from config.tests.building import make_user
from shop import db
from shop.errors import UsernameTaken
from shop.models import User

pytestmark = pytest.mark.usefixtures("committed_db")


def test_transaction_refuses_to_nest():
    def nest():
        with db.transaction():
            pass

    with db.transaction(), pytest.raises(RuntimeError, match="durable"):
        nest()


def test_savepoint_and_hook_need_a_transaction():
    with pytest.raises(db.TransactionMissing, match="savepoint"):
        db.savepoint()
    with pytest.raises(db.TransactionMissing, match="run_after_commit"):
        db.run_after_commit(lambda: None)
    assert not db.in_transaction()


@db.transaction_required
def in_one():
    return db.in_transaction()


def test_operation_runs_inside_a_transaction_only():
    with pytest.raises(db.TransactionMissing, match="in_one needs a transaction"):
        in_one()
    with db.transaction():
        assert in_one()


def test_savepoint_is_undone_alone():
    kept = make_user()
    with db.transaction():
        User.objects.filter(pk=kept).update(first_name="kept")
        with suppress(ZeroDivisionError), db.savepoint():
            User.objects.filter(pk=kept).update(last_name="lost")
            raise ZeroDivisionError
    assert User.objects.values_list("first_name", "last_name").get() == ("kept", "")


def test_hook_runs_after_commit_and_not_after_a_rollback():
    ran: list[str] = []
    with db.transaction():
        db.run_after_commit(partial(ran.append, "committed"))
        assert ran == []
    with suppress(ZeroDivisionError), db.transaction():
        db.run_after_commit(partial(ran.append, "rolled back"))
        raise ZeroDivisionError
    assert ran == ["committed"]


def test_hook_that_fails_fails_nobody_and_the_next_still_runs(caplog):
    ran: list[str] = []
    with db.transaction():
        db.run_after_commit(partial(int, "not a number"))  # a partial has no __qualname__, which Django would log
        db.run_after_commit(partial(ran.append, "after it"))
    assert ran == ["after it"]
    assert "not a number" in caplog.text


def sign_up(name, errors):
    with db.constraint_errors(errors), db.transaction():
        User.objects.create(username=name)


def test_named_constraint_becomes_its_domain_error_and_others_pass():
    errors = {"user_username_taken": UsernameTaken}
    sign_up("Somebody", errors)
    with pytest.raises(UsernameTaken):
        sign_up("somebody", errors)
    with pytest.raises(IntegrityError) as other:
        sign_up("Somebody", {"another_constraint": UsernameTaken})
    assert db.violated_constraint(other.value) in ("user_username_taken", "shop_user_username_key")
    assert User.objects.count() == 1


def test_advisory_keys_are_stable_signed_and_apart():
    assert db.advisory_key("foobar") == 0x85944171F73967E8 - 2**64  # the published FNV-1a vector
    keys = {db.advisory_key(f"key/{number}/route/key") for number in range(1_000)}
    assert len(keys) == 1_000
    assert min(keys) < 0 < max(keys)
    assert all(-(2**63) <= key < 2**63 for key in keys)


@pytest.mark.parametrize("numbers", [[], [7], [0, -1, 2**63 - 1, -(2**63)]])
def test_array_arrives_as_it_was_sent(numbers):
    assert db.rows("SELECT %s::bigint[]", [db.array(iter(numbers))]) == [(numbers,)]
