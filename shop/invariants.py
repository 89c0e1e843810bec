"""
What must hold in every shop at any moment: the registry the apps' `invariants` modules fill, and the audit's run.

A database invariant is SQL that returns the offending rows; all of them run in one snapshot, so that a shop under load
is judged by one moment of it. A Redis invariant compares Redis with PostgreSQL, which have no common moment; a
violation counts when it is there twice.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import redis
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import Model
from django.utils.module_loading import autodiscover_modules
from psycopg import sql

from shop import connections, db
from shop.errors import DependencyUnavailable

LONGEST_CACHE_TTL_MS = 60_000
"""Bodies live 4 s, the version that outdates them 60 s (shop.representations); what has no TTL would stay for ever."""
LOOK_AGAIN_SECONDS = 0.3
POLL_SECONDS = 0.2

BASE_DIR = Path(__file__).resolve().parent.parent

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """One row that breaks an invariant; `row` names it by the columns that matter."""

    invariant: str
    claim: str
    row: Row

    def __str__(self) -> str:
        named = " ".join(f"{name}={value}" for name, value in self.row.items())
        return f"{self.invariant} {self.claim}: {named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """
    A claim and how its violations are found: SQL with parameters, or a function that looks at Redis.

    SQL may use %(drained)s, which is true when nothing is under way, and %(zone)s, the shop's time zone.
    """

    name: str
    claim: str
    sql: str = ""
    params: Mapping[str, Any]
    find: Callable[[], list[Row]] | None = None
    needs_drained: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of one run; `unchecked` are invariants that cannot be judged while work is under way."""

    violations: list[Violation]
    checked: list[str]
    unchecked: list[str]
    seconds: float


_invariants: list[Invariant] = []
_backlogs: dict[str, Callable[[], int]] = {}
_append_only: dict[str, str] = {}


def invariant(name: str, claim: str, **params: Any) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function that returns the SQL of a database invariant; `params` (or what they return) are bound."""

    def register(function: Callable[[], str]) -> Callable[[], str]:
        _invariants.append(Invariant(name=name, claim=claim, sql=function(), params=params))
        return function

    return register


def redis_invariant(
    name: str, claim: str, *, needs_drained: bool
) -> Callable[[Callable[[], list[Row]]], Callable[[], list[Row]]]:
    """Register a function that returns what Redis and PostgreSQL disagree about."""

    def register(find: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
        _invariants.append(Invariant(name=name, claim=claim, params={}, find=find, needs_drained=needs_drained))
        return find

    return register


def backlog(name: str) -> Callable[[Callable[[], int]], Callable[[], int]]:
    """Register a function that counts work under way; the shop is drained when all of them return 0."""

    def register(count: Callable[[], int]) -> Callable[[], int]:
        _backlogs[name] = count
        return count

    return register


def append_only(table: str, trigger: str) -> None:
    """Name the trigger that must keep a table's rows as they were written."""
    _append_only[trigger] = table


def append_only_tables() -> list[str]:
    """Return the tables with such a trigger, of all apps."""
    invariants()
    return sorted(set(_append_only.values()))


append_only("shop_operatoraction", "operator_action_append_only")


@cache
def invariants() -> list[Invariant]:
    """Return every invariant in the order of their names, after the apps' `invariants` modules have been read."""
    autodiscover_modules("invariants")
    return sorted(_invariants, key=lambda item: item.name)


# --- one run --------------------------------------------------------------------------------------------------------


def audit(*, wait_seconds: float | None = None, progress: Callable[[int], object] = lambda _: None) -> Audit:
    """
    Check every invariant; with `wait_seconds` wait that long for the shop to settle, then judge it as settled.

    Transaction: opens a read-only snapshot.  Locks: none.
    """
    began = time.monotonic()
    # What is accepted between this look and the snapshot is under way, not left behind; who has waited has waited.
    looked_at = db.clock() if wait_seconds is None else None
    drained = wait_until_drained(wait_seconds or 0) or wait_seconds is not None
    with db.transaction():
        db.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        violations = find_violations(drained=drained, looked_at=looked_at, progress=progress)
    in_redis, unchecked = compare_redis(drained=drained)
    return Audit(
        violations=violations + in_redis,
        checked=[item.name for item in invariants() if item.name not in unchecked],
        unchecked=unchecked,
        seconds=time.monotonic() - began,
    )


def wait_until_drained(seconds: float) -> bool:
    """Wait until nothing is under way; returns whether that happened in time. An unreachable Redis holds nothing."""
    invariants()  # registers the backlogs
    deadline = time.monotonic() + seconds
    while not _is_drained():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _is_drained() -> bool:
    return not any(_count(backlog) for backlog in _backlogs.values())


def _count(backlog: Callable[[], int]) -> int:
    try:
        return backlog()
    except (redis.RedisError, DependencyUnavailable):
        return 0


def find_violations(
    *, drained: bool, looked_at: datetime | None = None, progress: Callable[[int], object] = lambda _: None
) -> list[Violation]:
    """
    Return the rows of PostgreSQL that break an invariant, as the current transaction sees them.

    Drained: nothing that was accepted before `looked_at` may be under way; None: nothing at all.
    """
    for name, value in {"work_mem": "256MB", "jit": "off"}.items():
        db.rows("SELECT set_config(%s, %s, true)", [name, value])
    found = []
    for item in invariants():
        if item.sql:
            common = {"drained": drained, "looked_at": looked_at, "zone": settings.SHOP_TIME_ZONE}
            params = {name: value() if callable(value) else value for name, value in item.params.items()}
            rows = _named_rows(item.sql, common | params)
            found += [Violation(item.name, item.claim, row) for row in rows]
        progress(1)
    return found


def _named_rows(sql: str, params: Mapping[str, Any]) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def compare_redis(*, drained: bool) -> tuple[list[Violation], list[str]]:
    """Return where Redis and PostgreSQL disagree, and the invariants that could not be judged."""
    inspected = [item for item in invariants() if item.find and (drained or not item.needs_drained)]
    skipped = [item.name for item in invariants() if item.find and item not in inspected]
    try:
        first = _look(inspected)
        if first:
            time.sleep(LOOK_AGAIN_SECONDS)  # the two answers of one check are moments apart; what is wrong stays wrong
            second = _look(inspected)
            first = [violation for violation in first if violation in second]
    except (redis.RedisError, DependencyUnavailable) as error:
        names = [item.name for item in invariants() if item.find]
        return [
            Violation("R0", "Redis answers", {"error": f"redis unreachable: {str(error) or type(error).__name__}"})
        ], names
    return first, skipped


def _look(items: list[Invariant]) -> list[Violation]:
    return [Violation(item.name, item.claim, row) for item in items if item.find for row in item.find()]


# --- the kernel's own -----------------------------------------------------------------------------------------------


def _own_models() -> list[type[Model]]:
    """Return the models of the rooms, which stand side by side in the project's directory."""
    return [
        model for model in apps.get_models() if Path(apps.get_app_config(model._meta.app_label).path).parent == BASE_DIR
    ]


def _own_tables() -> list[str]:
    return [model._meta.db_table for model in _own_models()]


def _constraint_names() -> list[str]:
    return [constraint.name for model in _own_models() for constraint in model._meta.constraints]


@invariant("P1", "no item waits for a person or a later try")
def parked_items() -> str:
    return "SELECT stage, item_id, attempts, last_error AS error FROM shop_parkeditem ORDER BY stage, item_id"


@invariant(
    "X1",
    "every named constraint exists and is enforced",
    names=_constraint_names,
    tables=_own_tables,
)
def constraints() -> str:
    return """
        WITH enforced AS (
            SELECT conname AS name FROM pg_constraint WHERE convalidated AND conenforced
            UNION ALL
            SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indisunique AND indisvalid AND indisready
        )
        SELECT name AS "constraint" FROM unnest(%(names)s::text[]) name WHERE name NOT IN (SELECT name FROM enforced)
        UNION ALL
        SELECT conname FROM pg_constraint
        WHERE conrelid::regclass::text = ANY(%(tables)s) AND NOT (convalidated AND conenforced)
          AND conname <> ALL(%(names)s)
    """


@invariant(
    "X2",
    "every trigger is on, the append-only ones above all",
    names=lambda: list(_append_only),
    guarded=lambda: list(_append_only.values()),
    tables=_own_tables,
)
def triggers() -> str:
    # 26 = before (2), delete (8), update (16)
    return """
        SELECT name AS "trigger", guarded AS "table"
        FROM unnest(%(names)s::text[], %(guarded)s::text[]) t (name, guarded)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE tgname = name AND tgrelid = to_regclass(guarded) AND tgenabled IN ('O', 'A')
              AND proname = 'shop_refuse_change' AND tgtype & 26 = 26 AND tgqual IS NULL
        )
        UNION ALL
        SELECT tgname, tgrelid::regclass::text FROM pg_trigger
        WHERE tgrelid::regclass::text = ANY(%(tables)s) AND tgenabled NOT IN ('O', 'A') AND tgname <> ALL(%(names)s)
    """


def _unenforced_parents() -> list[Any]:
    """Return the foreign keys that PostgreSQL does not check (docs/decisions/0009)."""
    fields: list[Any] = [field for model in _own_models() for field in model._meta.local_fields]
    return [field for field in fields if field.many_to_one and not field.db_constraint]


@invariant("X3", "every row has its parent, also where no foreign key in the database says so")
def parents() -> str:
    orphans = sql.SQL(
        """
        SELECT {child_name} AS "table", child.id, {column_name} AS "column", child.{column} AS parent
        FROM {child} AS child LEFT JOIN {parent} AS parent ON parent.{key} = child.{column}
        WHERE child.{column} IS NOT NULL AND parent.{key} IS NULL
        """
    )
    parts = [
        orphans.format(
            child_name=sql.Literal(field.model._meta.db_table),
            column_name=sql.Literal(field.column),
            child=sql.Identifier(field.model._meta.db_table),
            column=sql.Identifier(field.column),
            parent=sql.Identifier(field.related_model._meta.db_table),
            key=sql.Identifier(field.target_field.column),
        )
        for field in _unenforced_parents()
    ]
    return sql.SQL(" UNION ALL ").join(parts).as_string(None)


@redis_invariant("R6", "every wake-up flag has a time to live", needs_drained=False)
def wakeup_flags() -> list[Row]:
    flags = connections.flags()
    keys = flags.scan_iter(match="wake:*", count=1_000)
    return [{"key": key.decode()} for key in keys if flags.pttl(key) == -1]


@redis_invariant("R7", "every cached answer expires", needs_drained=False)
def cached_answers() -> list[Row]:
    cached, found = connections.cached(), []
    for key in cached.scan_iter(count=1_000):
        ttl_ms = int(cached.pttl(key))
        if ttl_ms == -1 or (ttl_ms > LONGEST_CACHE_TTL_MS and key.startswith(b"r:")):  # Django's cache is here too
            lives = "for ever" if ttl_ms == -1 else "too long"  # no time that has gone on when it is looked at again
            found.append({"key": key.decode(errors="replace"), "lives": lives})
    return found
