"""A kept connection is asked whether it lives only when there is news; a closed one is always noticed."""

import psycopg
import pytest
from django.db import connection

from shop import db
from shop.postgresql import base


def statements(call) -> list[str]:
    seen: list[str] = []

    def note(execute, sql, params, many, context):
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        call()
    return seen


@pytest.fixture
def kept(committed_db) -> None:
    db.rows("SELECT 1")
    assert connection.connection is not None


@pytest.mark.usefixtures("kept")
def test_silent_connection_is_usable_without_a_statement() -> None:
    assert statements(lambda: connection.is_usable()) == []
    assert connection.is_usable()


@pytest.mark.usefixtures("kept")
def test_connection_the_server_closed_is_not_usable() -> None:
    (pid,) = db.rows("SELECT pg_backend_pid()")[0]
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])  # waits until it has ended
    assert not connection.is_usable()
    connection.close()


@pytest.mark.usefixtures("kept")
def test_notice_that_arrived_in_between_does_not_end_the_connection() -> None:
    db.rows("LISTEN news")
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as other:
        other.execute("NOTIFY news")
    assert connection.is_usable()
    assert db.rows("SELECT 2") == [(2,)]


@pytest.mark.usefixtures("kept")
def test_after_an_error_the_server_is_asked_however_silent_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.DatabaseWrapper, "_has_news", lambda self: False)
    asked: list[bool] = []

    def ask(_self: object) -> bool:
        asked.append(True)
        return True

    monkeypatch.setattr(base.base.DatabaseWrapper, "is_usable", ask)
    assert (connection.is_usable(), asked) == (True, [])
    monkeypatch.setattr(connection, "errors_occurred", True)
    assert (connection.is_usable(), asked) == (True, [True])
