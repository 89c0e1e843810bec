"""
A psycopg connection whose calls end: the server's own time limits cannot, when the server is frozen.

Measured: with its processes stopped a query waited the whole 12 s, because the kernel still acknowledges what is sent
and `statement_timeout` is the server's (FAULTS.md 4.3). psycopg waits for its socket with a time-out anyway, so a limit
of the call's own needs no watching thread (docs/decisions/0012).
"""

from time import monotonic
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from shop.postgresql.turnstile import Turnstile

PROBE_SECONDS = 1.5  # of a call that finds out whether a silent server is back; above lock_timeout of the web
SESSION_ENDED = (psycopg.errors.TransactionTimeout, psycopg.errors.IdleInTransactionSessionTimeout)
IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)


class Connection(psycopg.Connection[Any]):
    """Ends a call after `call_seconds` (None: never), and goes through the process's turnstile."""

    call_seconds: float | None = None
    turnstile = Turnstile()
    asks_nothing = False  # psycopg sends changes of autocommit through `wait` too, which never reach the server

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """
        Make one call: a statement, a commit.

        Raises: psycopg.OperationalError, with the connection closed when the server did not answer in time.
        """
        if self.asks_nothing:
            return super().wait(gen, interval, timeout)
        turnstile = self.turnstile
        if self not in turnstile.inside:
            turnstile.enter(self)
        limit = timeout or self.call_seconds
        if not turnstile.free_for_all and limit is not None:
            limit = min(limit, PROBE_SECONDS)
        try:
            result = super().wait(gen, interval, limit)
        except psycopg.Error as error:
            self._look_at(error, limit)
            raise
        else:
            turnstile.note_answer()
            return result
        finally:
            if self.pgconn.transaction_status not in IN_TRANSACTION:
                turnstile.leave(self)

    def _look_at(self, error: psycopg.Error, limit: float | None) -> None:
        """Tell the turnstile whether an error is an answer, and give up a connection whose call has no end."""
        if error.sqlstate is not None:
            self.turnstile.note_answer()
            if isinstance(error, SESSION_ENDED):  # psycopg's InternalError, but it means: try again later
                raise psycopg.OperationalError(str(error)) from error
        elif self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # we gave up, the server did not end it
            self.close()
            self.turnstile.note_silence(monotonic() - (limit or 0.0))
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {limit} s") from error

    def close(self) -> None:
        super().close()
        self.turnstile.leave(self)
