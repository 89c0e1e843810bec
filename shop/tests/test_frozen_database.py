"""A database that accepts calls and never answers: who waits how long, and who is turned away at once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest
from django.db import OperationalError, connection

from shop import db
from shop.postgresql import turnstile as module
from shop.postgresql.connection import Connection
from shop.postgresql.turnstile import Turnstile
from shop.testing import Running, wait_until

LIMIT_SECONDS = 0.3
pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def turnstile() -> Turnstile:
    """Two places, for the connections that the test opens."""
    return Turnstile(places=2)


@contextmanager
def opened(turnstile: Turnstile, *, call_seconds: float | None = None) -> Iterator[Connection]:
    """A connection of the shop's kind, past Django."""
    with Connection.connect(**connection.get_connection_params() | {"autocommit": True}) as made:
        made.turnstile, made.call_seconds = turnstile, call_seconds
        yield made


@contextmanager
def frozen(*connections: psycopg.Connection) -> Iterator[None]:
    """Stop the server processes of these connections while they are idle: they hold nothing that others need."""
    pids = [made.info.backend_pid for made in connections]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def one(made: Connection) -> object:
    return made.execute("SELECT 1").fetchone()


class Clock:
    """The turnstile's time."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "monotonic", made)
    return made


# --- one call -------------------------------------------------------------------------------------------------------


def test_call_to_a_frozen_server_ends_with_its_limit_and_its_connection(turnstile: Turnstile) -> None:
    with opened(turnstile, call_seconds=LIMIT_SECONDS) as made, frozen(made):
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match=r"has not answered for 0\.3 s"):
            made.execute("SELECT 1")
        assert LIMIT_SECONDS <= time.monotonic() - began < LIMIT_SECONDS + 1.0
        assert made.closed
    assert turnstile.inside == {}


def test_without_the_limit_a_call_to_a_frozen_server_waits_until_it_thaws(turnstile: Turnstile) -> None:
    """The control: it is the limit that ends the call, not the server's own statement_timeout."""
    with opened(turnstile) as made:
        made.execute(f"SET statement_timeout = {int(LIMIT_SECONDS * 1000)}")
        with frozen(made):
            call = Running(lambda: made.execute("SELECT 'thawed'").fetchone())
            call._thread.join(LIMIT_SECONDS * 4)
            assert not call.is_over
        assert isinstance(call.outcome(), tuple | psycopg.errors.QueryCanceled)


def test_commit_is_a_call_too(turnstile: Turnstile) -> None:
    with opened(turnstile, call_seconds=LIMIT_SECONDS) as made:
        made.autocommit = False
        made.execute("SELECT 1")
        with frozen(made), pytest.raises(psycopg.OperationalError, match="has not answered"):
            made.commit()
    assert turnstile.inside == {}


def test_refusal_of_the_server_is_an_answer_and_keeps_the_connection(turnstile: Turnstile) -> None:
    with opened(turnstile, call_seconds=10.0) as made:
        made.execute("SET statement_timeout = 20")
        with pytest.raises(psycopg.errors.QueryCanceled):
            made.execute("SELECT pg_sleep(5)")
        assert made.execute("SELECT 2").fetchone() == (2,)
    assert turnstile.free_for_all == 2


def test_transaction_that_takes_too_long_is_trouble_to_try_again(turnstile: Turnstile) -> None:
    """psycopg names it InternalError, which would be a 500."""
    with opened(turnstile, call_seconds=10.0) as made:
        made.execute("SET transaction_timeout = 30")
        with pytest.raises(psycopg.OperationalError, match="transaction timeout"), made.transaction():
            made.execute("SELECT pg_sleep(5)")
    assert turnstile.inside == {}


def test_request_that_asks_whether_its_connection_lives_does_not_wait_for_the_usual_limit(
    turnstile: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shop.postgresql.base.PROBE_SECONDS", LIMIT_SECONDS)
    db.rows("SELECT 1")
    connection.connection.turnstile, connection.connection.call_seconds = turnstile, 20.0
    monkeypatch.setattr(connection, "errors_occurred", True)
    with frozen(connection.connection):
        began = time.monotonic()
        assert not connection.is_usable()
        assert time.monotonic() - began < LIMIT_SECONDS + 1.0
    connection.close()


def test_transactions_are_bounded_where_the_server_can(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TRANSACTION_TIMEOUT_MS = 8_000
    connection.close()
    assert db.rows("SHOW transaction_timeout") == [("8s",)]
    connection.close()
    monkeypatch.setattr("shop.postgresql.base.TRANSACTION_TIMEOUT_SINCE", 990_000)  # as PostgreSQL 16 would be
    assert db.rows("SHOW transaction_timeout") == [("0",)]
    connection.close()


# --- places ---------------------------------------------------------------------------------------------------------


def test_silent_places_are_not_waited_for(turnstile: Turnstile) -> None:
    """Two threads are stuck; the third hears so in half a second, the fourth at once."""
    with opened(turnstile, call_seconds=3.0) as a, opened(turnstile, call_seconds=3.0) as b, opened(turnstile) as c:
        with frozen(a, b):
            stuck = [Running(partial(one, made)) for made in (a, b)]
            wait_until(lambda: len(turnstile.inside) == 2)
            for limit in (module.SILENCE_SECONDS + 0.4, 0.2):
                began = time.monotonic()
                with pytest.raises(psycopg.OperationalError, match="every place in the database is taken"):
                    c.execute("SELECT 1")
                assert time.monotonic() - began < limit
        assert [call.outcome() for call in stuck] == [(1,), (1,)]
        assert c.execute("SELECT 3").fetchone() == (3,)


def test_place_that_becomes_free_is_taken_by_who_waits(turnstile: Turnstile) -> None:
    with opened(turnstile) as a, opened(turnstile) as b, opened(turnstile) as c:
        a.autocommit = b.autocommit = False
        for made in (a, b):
            made.execute("SELECT 1")
        third = Running(lambda: c.execute("SELECT 3").fetchone())
        wait_until(lambda: len(turnstile._waiting) == 1)
        a.commit()
        assert third.outcome() == (3,)
        assert list(turnstile.inside) == [b]
        b.rollback()
    assert turnstile.inside == {}


def test_open_transaction_goes_on_however_full_it_is(turnstile: Turnstile) -> None:
    """It may hold the very row lock that those inside wait for."""
    with opened(turnstile) as holder, opened(turnstile) as waiter, opened(turnstile) as late:
        holder.autocommit = False
        holder.execute("SELECT pg_advisory_xact_lock(4711)")
        stuck = Running(lambda: waiter.execute("SELECT pg_advisory_lock(4711)").fetchone())
        wait_until(lambda: len(turnstile.inside) == 2)
        with pytest.raises(psycopg.OperationalError):
            late.execute("SELECT 1")
        holder.execute("SELECT 1")
        holder.commit()
        assert stuck.outcome() == ("",)


def test_end_of_a_committed_transaction_is_never_refused(turnstile: Turnstile) -> None:
    """Django switches autocommit on after COMMIT, through psycopg's `wait`: a place there could fail what is done."""
    db.rows("SELECT 1")
    made = connection.connection
    usual, made.turnstile = made.turnstile, turnstile
    turnstile.free_for_all = 0
    turnstile.note_silence(time.monotonic())
    connection.set_autocommit(False)
    connection.set_autocommit(True)
    with pytest.raises(OperationalError, match="the database does not answer"):
        db.rows("SELECT 1")
    made.turnstile = usual


def test_connection_closed_inside_a_transaction_gives_its_place_back(turnstile: Turnstile) -> None:
    with opened(turnstile) as made:
        made.autocommit = False
        made.execute("SELECT 1")
        assert list(turnstile.inside) == [made]
        made.close()
    assert turnstile.inside == {}


# --- nobody in for a while ------------------------------------------------------------------------------------------


def test_after_a_call_without_answer_one_caller_a_second_looks_for_all(turnstile: Turnstile, clock: Clock) -> None:
    turnstile.note_silence(since=clock.now - 4.0)
    refused = pytest.raises(psycopg.OperationalError, match="the database does not answer")
    with refused:
        turnstile.enter("at once")
    clock.now += module.PAUSE_SECONDS
    turnstile.enter("the one who looks")
    with refused:
        turnstile.enter("another")
    turnstile.note_answer()
    turnstile.enter("another")
    assert set(turnstile.inside) == {"the one who looks", "another"}


def test_one_silent_connection_closes_nothing_while_others_are_answered(turnstile: Turnstile, clock: Clock) -> None:
    turnstile.answered_at = clock.now - 1.0
    turnstile.note_silence(since=clock.now - 4.0)
    turnstile.enter("anybody")
    assert set(turnstile.inside) == {"anybody"}


def test_server_that_accepts_and_says_nothing_closes_the_turnstile(turnstile: Turnstile) -> None:
    unanswered = pytest.raises(psycopg.OperationalError, match="has not answered")
    with opened(turnstile, call_seconds=LIMIT_SECONDS) as made, frozen(made), unanswered:
        made.execute("SELECT 1")
    assert turnstile.free_for_all == 0
    with opened(turnstile) as other:
        with pytest.raises(psycopg.OperationalError, match="does not answer"):
            other.execute("SELECT 1")
        turnstile._look_again_at = 0.0
        assert other.execute("SELECT 1").fetchone() == (1,)
    assert turnstile.free_for_all == 2
