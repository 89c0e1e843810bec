"""
The database backend of `settings.DATABASES`.

Django's health check is a `SELECT 1` before a request's first statement: on routes of one statement half of what the
database costs. A server that restarts or drops a connection closes its socket, and a silent socket says so for a
thousandth of that. What silence cannot tell (a frozen server) ends with the call's own limit, as `SELECT 1` would.
"""

import select
from functools import cache
from time import monotonic
from typing import Any

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

from shop.postgresql.connection import PROBE_SECONDS, Connection
from shop.postgresql.turnstile import Turnstile

TRANSACTION_TIMEOUT_SINCE = 170_000


@cache
def process_turnstile() -> Turnstile:
    """Return the one of this process."""
    return Turnstile(settings.DATABASE_PLACES)


class PreparedCursor(ServerBindingCursor):
    """Sends parameters apart from the statement, which the server parses and plans once for each connection."""

    def execute(self, query: Any, params: Any = None) -> Any:
        return super().execute(query, params, prepare=True)  # type: ignore[misc]  # not in the stubs


class DatabaseWrapper(base.DatabaseWrapper):
    """Asks the server only when its socket has news between requests, or after an error; bounds every call."""

    def prepared_cursor(self) -> CursorWrapper:
        """Return a cursor for statements that are worth preparing; else like `cursor`. Raises what that raises."""
        self.ensure_connection()
        with self.wrap_database_errors:
            cursor = PreparedCursor(self.connection)  # type: ignore[call-arg]  # not in the stubs
            return self._prepare_cursor(cursor)  # type: ignore[attr-defined, no-any-return]  # likewise

    def is_usable(self) -> bool:
        if self.errors_occurred or self._has_news():
            return self._answers()
        return True

    def _has_news(self) -> bool:
        """Say whether anything, the end included, waits to be read from an idle connection."""
        if self.connection is None or self.connection.closed:
            return True
        poller = select.poll()
        poller.register(self.connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poller.poll(0))

    def _answers(self) -> bool:
        """Ask, but not for long: the request has its own calls to make yet."""
        if self.connection is None:
            return False
        usual, self.connection.call_seconds = self.connection.call_seconds, PROBE_SECONDS
        try:
            return bool(super().is_usable())
        finally:
            self.connection.call_seconds = usual

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        """Connect; also this is a call that a frozen server does not answer. Raises psycopg.OperationalError."""
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        turnstile, began = process_turnstile(), monotonic()
        turnstile.enter(self)
        try:
            made = Connection.connect(**conn_params)
        except psycopg.errors.ConnectionTimeout:
            turnstile.note_silence(began)
            raise
        finally:
            turnstile.leave(self)
        turnstile.note_answer()
        made.turnstile, made.call_seconds = turnstile, settings.DATABASE_CALL_SECONDS
        return made

    def init_connection_state(self) -> None:
        """Bound transactions where the server can (PostgreSQL 17); an unknown setting in `options` would refuse us."""
        super().init_connection_state()
        limit_ms = settings.TRANSACTION_TIMEOUT_MS
        if limit_ms and self.connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            self.connection.execute(f"SET transaction_timeout = {limit_ms:d}")

    def _set_autocommit(self, autocommit: bool) -> None:
        self.connection.asks_nothing = True
        try:
            super()._set_autocommit(autocommit)  # type: ignore[misc]  # not in the stubs
        finally:
            self.connection.asks_nothing = False
