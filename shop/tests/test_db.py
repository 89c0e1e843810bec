"""The words for transactions: who begins, who requires, what is undone, and what may fail without harm."""

from contextlib import suppress
from functools import partial

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from config.tests.building import make_user
from shop import db
from shop.errors import UsernameTaken
from shop.models import User
from shop.testing import Running, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def test_transaction_refuses_to_nest():
    def nest():
        with db.transaction():
            pass

    with db.transaction(), pytest.raises(RuntimeError, match="durable"):
        nest()


def test_savepoint_and_hook_need_a_transaction():
    with pytest.raises(db.TransactionMissing, match="savepoint"), db.savepoint():
        pass
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


@db.transaction_required
def rename(user_id, name):
    db.rows("UPDATE shop_user SET first_name = %s WHERE id = %s", [name, user_id])


def first_name(user_id):
    return User.objects.values_list("first_name", flat=True).get(pk=user_id)


def test_flow_of_one_statement_sends_that_statement_only():
    user_id = make_user()
    with CaptureQueriesContext(connection) as captured, db.transaction(single=True):
        rename(user_id, "alone")
    assert [query["sql"].split()[0] for query in captured] == ["UPDATE"]
    assert first_name(user_id) == "alone"


def rename_twice(user_id):
    with db.transaction(single=True):
        rename(user_id, "first")
        rename(user_id, "second")


def test_flow_of_one_statement_refuses_a_second_operation_which_could_not_undo_the_first():
    user_id = make_user()
    with pytest.raises(RuntimeError, match="rename after rename in a flow of one statement"):
        rename_twice(user_id)
    assert first_name(user_id) == "first"
    with db.transaction(single=True):  # what was refused does not count against the next flow
        rename(user_id, "third")
    assert first_name(user_id) == "third"


def test_flow_of_one_statement_runs_its_hooks_after_it_and_not_when_it_failed():
    user_id = make_user()
    ran: list[str] = []
    with db.transaction(single=True):
        db.run_after_commit(partial(ran.append, "after"))
        rename(user_id, "done")
        assert ran == []
    with suppress(ZeroDivisionError), db.transaction(single=True):
        db.run_after_commit(partial(ran.append, "never"))
        raise ZeroDivisionError
    assert ran == ["after"]
    with pytest.raises(db.TransactionMissing, match="run_after_commit"):
        db.run_after_commit(lambda: None)


def test_flow_of_one_statement_is_no_part_of_another_flow_nor_holds_one():
    def nest(inner, outer):
        with db.transaction(single=outer), db.transaction(single=inner):
            pass

    for inner, outer in [(True, False), (False, True), (True, True)]:
        with pytest.raises(RuntimeError, match="durable"):
            nest(inner, outer)
    with pytest.raises(db.TransactionMissing, match="savepoint"), db.transaction(single=True), db.savepoint():
        pass


def prepared_statements():
    return db.rows("SELECT statement FROM pg_prepared_statements ORDER BY 1")


def test_statement_is_prepared_once_where_it_asks_for_it_and_nowhere_else():
    connection.close()  # another test may have prepared statements on this one
    assert [db.rows("SELECT %s::int + 1", [number], prepared=True) for number in (1, 2)] == [[(2,)], [(3,)]]
    assert db.rows("SELECT %s::int + 2", [1]) == [(3,)]
    assert prepared_statements() == [("SELECT $1::int + 1",)]
    connection.close()  # a new connection knows nothing of it and is told again
    assert db.rows("SELECT %s::int + 1", [3], prepared=True) == [(4,)]
    assert prepared_statements() == [("SELECT $1::int + 1",)]


@pytest.mark.parametrize("is_set", [False, True])
def test_savepoint_is_undone_alone_and_its_hooks_with_it(is_set):
    user_id = make_user()
    ran: list[str] = []
    with CaptureQueriesContext(connection) as captured, db.transaction():
        rename(user_id, "before")
        db.run_after_commit(partial(ran.append, "before"))
        if is_set:
            db.several(f"SELECT 1; {db.SAVEPOINT}", {})
        with suppress(ZeroDivisionError), db.savepoint(ZeroDivisionError, is_set=is_set):
            rename(user_id, "lost")
            db.run_after_commit(partial(ran.append, "lost"))
            raise ZeroDivisionError
        User.objects.filter(pk=user_id).update(last_name="after")
    assert (ran, User.objects.values_list("first_name", "last_name").get()) == (["before"], ("before", "after"))
    assert len([query for query in captured if "SAVEPOINT undo" in query["sql"]]) == 2  # set once, gone back to once


def test_savepoint_mends_a_transaction_that_a_statement_broke():
    user_id = make_user()
    with db.transaction():
        with suppress(IntegrityError), db.savepoint(IntegrityError):
            User.objects.create(username=User.objects.get().username)
        rename(user_id, "after")
    assert first_name(user_id) == "after"


def test_savepoint_keeps_what_went_well_and_lets_other_errors_undo_everything():
    user_id = make_user()
    with db.transaction(), db.savepoint(ZeroDivisionError):
        rename(user_id, "kept")
    assert first_name(user_id) == "kept"
    with suppress(KeyError), db.transaction(), db.savepoint(ZeroDivisionError):
        rename(user_id, "lost")
        raise KeyError
    assert first_name(user_id) == "kept"


def test_savepoint_is_no_part_of_another_one():
    with db.transaction():
        with db.savepoint(), pytest.raises(RuntimeError, match="part of another one"), db.savepoint():
            pass
        with db.savepoint():
            pass


TOGETHER = """
SELECT first_name, pg_advisory_xact_lock(7) FROM shop_user; SELECT first_name FROM shop_user
"""
IN_ONE = """
WITH early AS MATERIALIZED (SELECT first_name, pg_advisory_xact_lock(7) FROM shop_user)
SELECT early.first_name, late.first_name FROM early, shop_user late
"""


@pytest.mark.parametrize(
    ("statements", "seen"), [(TOGETHER, [[("", "")], [("new",)]]), (IN_ONE, [[("", "")]])], ids=["together", "in one"]
)
def test_statements_sent_together_each_see_what_was_committed_before_them(statements, seen):
    """One statement would not: what is committed while it waits comes too late for it."""
    user_id = make_user()

    def look():
        with db.transaction():
            return db.several(statements, {})

    db.rows("SELECT pg_advisory_lock(7)")
    looking = Running(look)
    wait_until_blocked(1)
    with db.transaction(single=True):
        rename(user_id, "new")
    db.rows("SELECT pg_advisory_unlock(7)")
    assert looking.outcome() == seen


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
