"""
Tools of the tests: races of real threads, a database whose transactions commit, and the lock-order recorder.

A race test starts its callers at one barrier, or pauses the first of them with `holding` while it owns the lock and
waits with `wait_until_blocked` until the others queue behind it. Nothing here sleeps to let something happen.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import hypothesis
import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

import shop.connections as redis_connections
from shop import db, wakeups

hypothesis.settings.register_profile("shop", deadline=None, print_blob=True)  # a busy machine is no counter-example
hypothesis.settings.load_profile("shop")

PATIENCE_SECONDS = 30.0  # how long anything here waits before it gives a test up
POLL_SECONDS = 0.002


# --- threads --------------------------------------------------------------------------------------------------------


class Running:
    """A call in a thread of its own, with a database connection of its own."""

    def __init__(self, call: Callable[[], Any], *, barrier: threading.Barrier | None = None) -> None:
        self._call, self._barrier = call, barrier
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._barrier is not None:
                self._barrier.wait(PATIENCE_SECONDS)
            self._outcome = self._call()
        except Exception as error:  # noqa: BLE001 - how a caller ends is what the test looks at
            self._outcome = error
        finally:
            connections.close_all()

    def outcome(self) -> Any:
        """Wait for the call's end; return its result, or the exception it raised."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), f"{self._call} did not end within {PATIENCE_SECONDS:.0f} s"
        return self._outcome

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()


def race(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at once, each in a thread; return their results or exceptions in the order given."""
    barrier = threading.Barrier(len(calls))
    running = [Running(call, barrier=barrier) for call in calls]
    return [runner.outcome() for runner in running]


class Holder:
    """The first caller of a function, kept inside it; `let_go` frees it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._turn = threading.Lock()
        self._inside, self._free = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._function(*args, **kwargs)
        if self._turn.acquire(blocking=False):
            self._inside.set()
            assert self._free.wait(PATIENCE_SECONDS), "nobody let the holder go"
        return result

    def wait(self) -> None:
        """Wait until the first caller is inside."""
        assert self._inside.wait(PATIENCE_SECONDS), f"nobody called {self._function}"

    def let_go(self) -> None:
        self._free.set()


@contextmanager
def holding(target: str) -> Iterator[Holder]:
    """Pause the first caller of the function with this dotted name when it returns: it owns its lock then."""
    patcher = mock.patch(target)
    function, _is_local = patcher.get_original()
    holder = Holder(function)
    with mock.patch(target, holder):
        try:
            yield holder
        finally:
            holder.let_go()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds. Raises AssertionError when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {PATIENCE_SECONDS:.0f} s"
        time.sleep(POLL_SECONDS)


def wait_until_blocked(count: int) -> None:
    """Wait until this many connections queue for a lock that somebody holds."""
    blocked = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    wait_until(lambda: bool(db.rows(blocked)[0][0] >= count))


# --- a shop of one's own --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Make the test database always: pytest-django makes it only for tests that ask for it by its own fixtures."""
    keep = request.config.getvalue("reuse_db") and not request.config.getvalue("create_db")
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, keepdb=keep)
    yield
    if not keep:
        with django_db_blocker.unblock():
            teardown_databases(made, verbosity=0)


KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
HOUSE_ACCOUNTS = """
    INSERT INTO balance_account (id, kind) VALUES (1, 'house_cash'), (2, 'house_revenue') ON CONFLICT DO NOTHING
"""


class AtOnce:
    """Publishes a wake-up in the thread of whoever wakes."""

    def wake(self, name: str) -> None:
        wakeups.publish(name)


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """
    An empty shop whose transactions really commit, so that other threads see them and hooks after them run.

    In place of pytest-django's `transactional_db`, whose flush takes the two house accounts along, which a migration
    made, and makes every permission anew (0.3 s per test).

    Wake-ups are published at once: those of the process's own thread would reach the next test.
    """
    with django_db_blocker.unblock(), mock.patch.object(wakeups, "_publisher", AtOnce()):
        empty_shop()
        yield
        empty_shop()


def empty_shop() -> None:
    """
    Empty the tables and the three Redis databases, and close the breaker that a test may have left open.

    A connection that a test lost is renewed, as between two requests: else every later test would find it closed.
    """
    connection.close_if_unusable_or_obsolete()
    known = [name for name in connection.introspection.django_table_names() if name not in KEPT]
    full = [
        *(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in known if name != "balance_account"),  # noqa: S608 - tables of ours
        "SELECT 'balance_account' WHERE EXISTS (SELECT FROM balance_account WHERE kind = 'wallet')",
    ]
    if names := [name for (name,) in db.rows(" UNION ALL ".join(full))]:
        db.rows(f"TRUNCATE {', '.join(names)} CASCADE")
    db.rows(HOUSE_ACCOUNTS)
    for client in (redis_connections.gate(), redis_connections.cached(), redis_connections.flags()):
        client.flushdb()
    redis_connections.breaker._note(failed=False)


@contextmanager
def redis_at(name: str, url: str) -> Iterator[None]:
    """Point one of the Redis clients (`gate`, `cached`, `flags`) to another server, with a breaker of its own."""
    client = redis_connections._client(url, settings.REDIS_TIMEOUT_SECONDS)
    with mock.patch.object(redis_connections, name, return_value=client):
        redis_connections.breaker._note(failed=False)
        try:
            yield
        finally:
            client.close()
            redis_connections.breaker._note(failed=False)


@contextmanager
def frozen_server() -> Iterator[str]:
    """Yield the Redis address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def dead_server() -> str:
    """Return a Redis address where connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"redis://127.0.0.1:{server.getsockname()[1]}/0"


# --- the lock order -------------------------------------------------------------------------------------------------

LOCK_ORDER = ("idempotency key", "stage", "order", "wallet", "issuance", "campaign", "stock", "daily sales")
LOCKED_AS = {
    "shop_idempotencyrecord": "idempotency key",
    "orders_order": "order",
    "balance_wallet": "wallet",
    "coupons_issuance": "issuance",
    "coupons_campaign": "campaign",
    "catalog_stock": "stock",
    "catalog_dailysales": "daily sales",
}
"""Note [Lock order] in shop/db.py. Other tables have no rows that two flows write."""

LOCKING = re.compile(
    r"""
    (?P<key>pg_try_advisory_xact_lock) | (?P<stage>pg_advisory_xact_lock)
    | \bINSERT\s+INTO\s+"?(?P<inserted>\w+)"? | \b(?P<upsert>DO\s+UPDATE)\b
    | \b(?P<select>FOR\s+(?:NO\s+KEY\s+)?UPDATE)\b (?:\s+OF\s+"?(?P<of>\w+)"?)?
    | \b(?:UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?"?(?P<written>\w+)"?
    | \b(?:FROM|JOIN)\s+"?(?P<read>\w+)"?
    """,
    re.IGNORECASE | re.VERBOSE,
)

# One idempotency record at a time, by its unique key: update_or_create.
UNORDERED = re.compile(
    r"\A(?!.*shop_idempotencyrecord)(?!.*\bORDER BY\b).*\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.IGNORECASE | re.DOTALL
)


def locks_in(sql: str) -> list[str]:
    """Return what a statement locks, as LOCK_ORDER names it, in the order of its text."""
    found: list[str | None] = []
    inserted, read = "", []
    for match in LOCKING.finditer(sql):
        part = match.lastgroup or ""
        table = match[part]
        if part in ("key", "stage"):
            found.append({"key": "idempotency key", "stage": "stage"}[part])
        elif part == "inserted":
            inserted = table
        elif part == "read":
            read.append(table)
        elif part == "upsert":
            found.append(LOCKED_AS.get(inserted))
        elif part == "select":
            found += [LOCKED_AS.get(name) for name in read]
        else:
            found.append(LOCKED_AS.get(table))
    return [name for name in found if name is not None]


class LockRecorder:
    """
    Reads the locks of every transaction from its statements and notes each that is taken after a later one.

    It sees every thread that connects while it watches. A lock may be taken again once it is held: rows that a flow has
    locked are updated later.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._held: dict[object, list[str]] = {}

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        blocks = [block for block in context["connection"].atomic_blocks if not block._from_testcase]
        if blocks:
            self._note(blocks[0], sql if isinstance(sql, str) else sql.as_string(None))
        return execute(sql, params, many, context)

    def _note(self, transaction: object, sql: str) -> None:
        held = self._held.setdefault(transaction, [])
        if UNORDERED.search(sql):
            self.violations.append(f"rows locked in no order: {' '.join(sql.split())}")
        for name in locks_in(sql):
            later = [other for other in held if LOCK_ORDER.index(other) > LOCK_ORDER.index(name)]
            if name not in held and later:
                self.violations.append(f"{name} locked after {later[0]}: {' '.join(sql.split())}")
            held.append(name)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread's connection and every one that is opened meanwhile."""

        def watch(connection: Any, **_: Any) -> None:
            if self not in connection.execute_wrappers:
                connection.execute_wrappers.append(self)

        watch(connection)
        connection_created.connect(watch)
        try:
            yield
        finally:
            connection_created.disconnect(watch)
            connection.execute_wrappers.remove(self)


@pytest.fixture(autouse=True)
def lock_recorder() -> Iterator[LockRecorder]:
    """Fail every test in which a transaction takes its locks against Note [Lock order]."""
    recorder = LockRecorder()
    with recorder.watching():
        yield recorder
    assert recorder.violations == []
