"""
The words for transactions (after kraken-tech's django-subatomic, which needs Python 3.12): who begins, who requires.

`transaction` begins and refuses to nest; `savepoint` undoes a part; `transaction_required` refuses to run without one;
`run_after_commit` may be lost and never fails its caller. "In a transaction" ignores the block a test case opens.

Note [Flows of one statement]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
PostgreSQL runs a statement outside a transaction as one of its own: whole or not at all. A flow that changes rows with
one statement says so (`transaction(single=True)`) and is spared BEGIN and COMMIT, each a round trip
(docs/decisions/0020). It may read besides. A second operation could not undo the first, nor rely on its locks, so it is
refused.

Note [Lock order]
~~~~~~~~~~~~~~~~~
Every transaction takes its row locks in this order, rows of one table by primary key:
    idempotency key -> (stage lock) -> order -> wallet -> issuance -> campaign -> stock -> daily sales
Two transactions that follow it cannot wait for each other in a circle. `shop.testing` records the locks of every test
and fails on a pair against it.

Note [Places of locked rows]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Where a stage locks rows by the hundred, the lock also returns where each row lies (its ctid), and the change joins on
that: in a large shop searching the index a second time costs a tenth of an order (docs/decisions/0018). While the row
is locked FOR NO KEY UPDATE nobody else can move it; its own transaction does with its first change, so a place serves
one change of the row. The change counts what it found: a place that was not locked, or served already, raises.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from django.db import IntegrityError, InterfaceError, OperationalError, connection
from django.db import transaction as _django

from shop import failpoints

P = ParamSpec("P")
T = TypeVar("T")

TROUBLE = (OperationalError, InterfaceError)
"""Lock or statement timeout, deadlock, lost or refused connection, full disk: try again later, nothing happened.

psycopg raises the classes 40, 53, 55P03, 57 and 08 as OperationalError (FAULTS.md 4.3, "one exception map").
"""


class TransactionMissing(RuntimeError):
    """An operation was called outside a transaction: the calling flow must open one."""


class _Single(threading.local):
    """The flow of one statement this thread is in: what runs after it, and the operation that was its one change."""

    hooks: list[Callable[[], object]] | None = None
    changed_by = ""


class _Undoable(threading.local):
    """Whether this thread is in a part that can be undone alone."""

    is_open = False


_single, _undoable = _Single(), _Undoable()


def transaction(name: str = "", of: Sequence[int] = (), *, single: bool = False) -> AbstractContextManager[None]:
    """
    Begin the one transaction of a flow.

    `name` calls its failpoints, `of` are the ids it works on (shop/failpoints.py). `single`: the flow changes rows with
    one statement, which is its transaction; see Note [Flows of one statement].
    Raises: RuntimeError inside another one, because a flow never calls a flow; at a second operation of a single one.
    """
    if _single.hooks is not None or (single and in_transaction()):
        raise RuntimeError("a durable transaction cannot be part of another one")
    block = _alone() if single else _django.atomic(durable=True)
    if not (failpoints.ARE_ON and name):
        return block
    return failpoints.around(block, name, of, run_after_commit if single else _django.on_commit, has_commit=not single)


@contextmanager
def _alone() -> Iterator[None]:
    hooks: list[Callable[[], object]] = []
    _single.hooks, _single.changed_by = hooks, ""
    try:
        yield
    finally:
        _single.hooks = None
    for hook in hooks:
        _django.on_commit(hook, robust=True)  # at once, but for tests that run in a transaction of their own


SAVEPOINT = "SAVEPOINT undo"


@contextmanager
def savepoint(*undone_by: type[Exception], is_set: bool = False) -> Iterator[None]:
    """
    Begin a part that is undone alone, hooks included, by these errors; stands next to the `except` that needs it.

    `is_set`: the caller has sent SAVEPOINT together with its last statement. It is not released: COMMIT does that too.
    Raises: RuntimeError inside another one, which would be undone with it only in part.
    """
    _require("savepoint")
    if _undoable.is_open:
        raise RuntimeError("a savepoint cannot be part of another one")
    hooks = len(connection.run_on_commit)
    if not is_set:
        rows(SAVEPOINT)
    _undoable.is_open = True
    try:
        yield
    except undone_by:
        _django.set_rollback(False)  # what broke the transaction is undone with the rest
        rows("ROLLBACK TO SAVEPOINT undo")
        del connection.run_on_commit[hooks:]
        raise
    finally:
        _undoable.is_open = False


def in_transaction() -> bool:
    """Say whether a flow's transaction is open."""
    blocks = connection.atomic_blocks
    return any(not block._from_testcase for block in blocks)  # type: ignore[attr-defined]  # not in the stubs


def _require(name: str) -> None:
    if not in_transaction():
        raise TransactionMissing(f"{name} needs a transaction; the flow that calls it opens one")


def _require_for_change(name: str) -> None:
    """Let an operation begin: in a transaction always, as the one change of a flow of one statement once."""
    if _single.hooks is None:
        _require(name)
    elif _single.changed_by:
        raise RuntimeError(f"{name} after {_single.changed_by} in a flow of one statement: they need a transaction")
    else:
        _single.changed_by = name


def transaction_required(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse to run `function` outside a transaction. Raises TransactionMissing."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _require_for_change(function.__qualname__)
        return function(*args, **kwargs)

    return failpoints.before(checked) if failpoints.ARE_ON else checked


def run_after_commit(function: Callable[[], object]) -> None:
    """Run `function` once the transaction is committed. It may be lost and its failure is only logged."""

    def call() -> None:  # Django names what failed by its __qualname__, and fails itself for a partial, which has none
        function()

    call.__qualname__ = repr(function)
    if _single.hooks is not None:
        _single.hooks.append(call)
        return
    _require("run_after_commit")
    _django.on_commit(call, robust=True)


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the constraint that refused the statement."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)


@contextmanager
def constraint_errors(names: Mapping[str, type[Exception]]) -> Iterator[None]:
    """Turn the violation of a named constraint into its domain error; others pass. Stands outside the block."""
    try:
        yield
    except IntegrityError as error:
        domain_error = names.get(violated_constraint(error) or "")
        if domain_error is None:
            raise
        raise domain_error from error


def rows(
    sql: str, params: Mapping[str, Any] | list[Any] | tuple[Any, ...] = (), *, prepared: bool = False
) -> list[tuple[Any, ...]]:
    """
    Run one statement and return all its rows (empty when it returns none).

    `prepared`: the server parses and plans it once for each connection. That pays for a long statement many requests
    send (docs/decisions/0020); a read of one row costs Python more than it spares.
    """
    new_cursor = connection.prepared_cursor if prepared else connection.cursor  # type: ignore[attr-defined]  # ours
    with new_cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def several(statements: str, params: Mapping[str, Any]) -> list[list[tuple[Any, ...]]]:
    """Run statements sent together, one round trip; return the rows of each. Each sees what was committed before it."""
    with connection.cursor() as cursor:
        cursor.execute(statements, params)
        found = [cursor.fetchall() if cursor.description else []]
        while cursor.nextset():
            found.append(cursor.fetchall() if cursor.description else [])
        return found


def clock() -> datetime:
    """Return the database's time: it decides what no machine's own clock may (FAULTS.md F48)."""
    (moment,) = rows("SELECT clock_timestamp()")[0]
    return cast(datetime, moment)


def array(numbers: Iterable[int]) -> str:
    """Return a parameter for `%s::bigint[]`: psycopg takes ten times as long over a list of integers."""
    return f"{{{','.join(map(str, numbers))}}}"


def places(found: Iterable[str]) -> str:
    """Return a parameter for `%s::tid[]`; see Note [Places of locked rows]."""
    return '{"' + '","'.join(found) + '"}'


def require_places(found: int, wanted: int, table: str) -> None:
    """Raise RuntimeError unless a change found every row where it was locked; see Note [Places of locked rows]."""
    if found != wanted:
        raise RuntimeError(f"{wanted - found} of {wanted} rows of {table} are not where they were locked")


def advisory_key(name: str) -> int:
    """Return the 64-bit key of an advisory lock by name (FNV-1a, signed), the same in every process."""
    digest = 0xCBF29CE484222325
    for byte in name.encode():
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest - (1 << 64) if digest >> 63 else digest
