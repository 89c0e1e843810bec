"""
Bulk demo data: the registry the apps' `seeding` modules fill, and the run that composes them.

A *subject* is something the operator asks for by number ("users"); an app may fill tables for any subject ("balance"
opens wallets for "users"). A subject's rows get one block of ids and are written in chunks, each chunk by all its
fillers in one transaction: whatever ends a run early, what is there is sound.

Note [Same seed, same data]
~~~~~~~~~~~~~~~~~~~~~~~~~~~
Every choice is `pg_temp.dice(number, salt)`: a hash of the row's number, the salt of the question and `--seed`, taken
by the server. Chunk sizes and lanes depend on the wish alone, never on the machine, because chunks of two lanes draw
from different halves of the users and products (so they never wait for each other's rows).
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db import connection
from django.utils.module_loading import autodiscover_modules
from psycopg import sql

from shop import db
from shop.models import User

LANES = 2  # connections that load at the same time; the target machine has two cores (FAULTS.md, first line)
DEFAULT_OPTIONS: Mapping[str, int | None] = {"balance": 1_000_000, "stock": None, "coupon_quantity": 100}
LOAD_SETTINGS = {
    "work_mem": "256MB",
    "temp_buffers": "128MB",
    "jit": "off",
    # One sorted merge into the trigram index per vacuum instead of one per 4 MB of new names.
    "gin_pending_list_limit": "1GB",
}


class CannotSeed(Exception):
    """The wish cannot be met here; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to add: rows per subject; `options` override DEFAULT_OPTIONS (a `stock` of None varies by product)."""

    counts: Mapping[str, int]
    options: Mapping[str, int | None] = field(default_factory=dict)
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    One transaction's part of a subject.

    `ids` are the ids to use, `number` belongs to the first of them, `done` of `total` rows come before it.
    `blocks` holds the ids that this run has already given to earlier subjects.
    """

    ids: range
    number: int
    done: int
    total: int
    lane: int
    lanes: int
    now: datetime
    wish: Wish
    blocks: Mapping[str, range]

    @property
    def params(self) -> dict[str, Any]:
        """The values a filler's SQL refers to by name."""
        return (
            dict(DEFAULT_OPTIONS)
            | dict(self.wish.options)
            | {
                "first_id": self.ids.start,
                "count": len(self.ids),
                "number": self.number,
                "done": self.done,
                "total": self.total,
                "lane": self.lane,
                "lanes": self.lanes,
                "now": self.now,
            }
        )

    def run(self, statement: str, **more: Any) -> int:
        """Run one statement with the chunk's values; returns how many rows it wrote."""
        with connection.cursor() as cursor:
            cursor.execute(statement, self.params | more)
            return int(cursor.rowcount)


def _all_lanes(wish: Wish) -> int:
    return LANES


@dataclass(slots=True, kw_only=True)
class Subject:
    """
    What can be asked for. `last_number` is SQL: the highest number in use, so that a second run goes on there.

    `lanes` may refuse the wish (CannotSeed); `finish` runs once after the last chunk, in a transaction of its own.
    """

    name: str
    table: str
    last_number: str
    rows_per_chunk: int
    lanes: Callable[[Wish], int] = _all_lanes
    finish: Callable[[datetime], None] | None = None
    fillers: list[Callable[[Chunk], None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The two people of the demo shop, for the apps' parts of it."""

    customer_id: int
    operator_id: int
    now: datetime


Progress = Callable[[str, int, int], None]
"""Called with (subject, rows done, rows in all), from one thread at a time."""

_subjects: dict[str, Subject] = {}
_demo_parts: list[Callable[[Demo], None]] = []


def add_subject(subject: Subject) -> None:
    """Offer a subject; subjects are seeded in the order in which the apps offer them."""
    _subjects[subject.name] = subject


def fills(name: str) -> Callable[[Callable[[Chunk], None]], Callable[[Chunk], None]]:
    """Register a filler; a subject's fillers run in the order of INSTALLED_APPS, parents before children."""

    def register(filler: Callable[[Chunk], None]) -> Callable[[Chunk], None]:
        _subjects[name].fillers.append(filler)
        return filler

    return register


def fills_demo(part: Callable[[Demo], None]) -> Callable[[Demo], None]:
    """Register an app's part of the demo shop."""
    _demo_parts.append(part)
    return part


@cache
def subjects() -> Mapping[str, Subject]:
    """Return every subject, after the apps' `seeding` modules have been read."""
    autodiscover_modules("seeding")
    return _subjects


# --- one run --------------------------------------------------------------------------------------------------------


def check(wish: Wish) -> dict[str, int]:
    """Return the lanes of each subject that is asked for. Raises CannotSeed."""
    return {subject.name: subject.lanes(wish) for subject in _asked(wish)}


def _asked(wish: Wish) -> list[Subject]:
    return [subject for subject in subjects().values() if wish.counts.get(subject.name, 0)]


def seed(*, wish: Wish, now: datetime, progress: Progress) -> dict[str, range]:
    """
    Add what is wished for and return the ids each subject got.

    Transaction: opens one per chunk.  Locks: the new rows; for orders also wallets and stock they touch.
    Repeats: adds again.
    Raises: CannotSeed, before anything is written.
    """
    lanes = check(wish)  # of all subjects first: they may refuse
    blocks: dict[str, range] = {}
    for subject in _asked(wish):
        chunks = _cut(subject, wish=wish, lanes=lanes[subject.name], now=now, blocks=dict(blocks))
        _Load(subject, chunks, progress).run()
        if subject.finish:
            with db.transaction(), _loading(wish.seed):
                subject.finish(now)
        blocks[subject.name] = range(chunks[0].ids.start, chunks[-1].ids.stop)
    return blocks


def reserve_ids(table: str, count: int) -> range:
    """
    Take `count` consecutive ids of a table.

    Transaction: opens one.  Locks: the table against inserts, for one statement (an insert takes its id under its own
    lock on the table, so none can slip in between nextval and setval).
    """
    lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)).as_string(None)
    take = "SELECT setval(s, nextval(s) + %s - 1) FROM CAST(pg_get_serial_sequence(%s, 'id') AS regclass) s"
    with db.transaction():
        db.rows(lock)
        last = int(db.rows(take, [count, table])[0][0])
    return range(last - count + 1, last + 1)


def _cut(subject: Subject, *, wish: Wish, lanes: int, now: datetime, blocks: dict[str, range]) -> list[Chunk]:
    count = wish.counts[subject.name]
    first_number = int(db.rows(subject.last_number)[0][0] or 0) + 1
    ids = reserve_ids(subject.table, count)
    starts = range(0, count, subject.rows_per_chunk)
    lanes = min(len(starts), lanes)
    return [
        Chunk(
            ids=ids[start : start + subject.rows_per_chunk],
            number=first_number + start,
            done=start,
            total=count,
            lane=position % lanes,
            lanes=lanes,
            now=now,
            wish=wish,
            blocks=blocks,
        )
        for position, start in enumerate(starts)
    ]


class _Load:
    """The chunks of one subject on their way in; several lanes are threads with a connection each."""

    def __init__(self, subject: Subject, chunks: list[Chunk], progress: Progress) -> None:
        self.subject, self.chunks, self.progress = subject, chunks, progress
        self.total, self.lanes = chunks[0].total, chunks[0].lanes
        self.done = 0
        self.stopped = threading.Event()
        self.counting = threading.Lock()
        self.connections: list[Any] = []

    def run(self) -> None:
        self.progress(self.subject.name, 0, self.total)
        if self.lanes == 1:
            self._fill(self.chunks)
            return
        with ThreadPoolExecutor(self.lanes) as pool:
            lanes = [pool.submit(self._lane, self.chunks[lane :: self.lanes]) for lane in range(self.lanes)]
            try:
                for lane in lanes:
                    lane.result()
            except BaseException:  # Ctrl-C too: the pool would wait for statements that run for seconds
                self._stop()
                raise

    def _stop(self) -> None:
        self.stopped.set()
        for raw in self.connections:
            raw.cancel()

    def _lane(self, chunks: list[Chunk]) -> None:
        try:
            connection.ensure_connection()
            self.connections.append(connection.connection)
            self._fill(chunks)
        except BaseException:
            self.stopped.set()
            raise
        finally:
            connection.close()

    def _fill(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            if self.stopped.is_set():
                return
            with db.transaction(), _loading(chunk.wish.seed):
                for filler in self.subject.fillers:
                    filler(chunk)
            with self.counting:
                self.done += len(chunk.ids)
                self.progress(self.subject.name, self.done, self.total)


@contextmanager
def _loading(seed: int) -> Iterator[None]:
    """
    Set this transaction up for a load, with the dice of this seed.

    Where the role may (the embedded server's may), foreign keys are not checked row by row: every id written comes
    from a parent row read or inserted by the same transaction. Constraints and unique indexes stay on.
    """
    for name, value in LOAD_SETTINGS.items():
        db.rows("SELECT set_config(%s, %s, true)", [name, value])
    dice = """
        CREATE OR REPLACE FUNCTION pg_temp.dice(n bigint, salt integer) RETURNS double precision
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN (hashint8extended(n, {seed}::bigint * 1000 + salt) & 4294967295) / 4294967296.0::double precision
    """
    db.rows(sql.SQL(dice).format(seed=sql.Literal(seed)).as_string(None))
    may_skip = db.rows("SELECT has_parameter_privilege('session_replication_role', 'SET')")[0][0]
    if may_skip:
        db.rows("SET LOCAL session_replication_role = replica")
    yield
    if may_skip:
        db.rows("SET LOCAL session_replication_role = origin")


def tidy(progress: Progress) -> None:
    """Vacuum and analyse every table with new rows, so that the first queries after a seed are planned and fast."""
    db.rows("SELECT pg_stat_force_next_flush()")  # counts of this session are otherwise up to a second behind
    tables = [
        name
        for (name,) in db.rows(
            """
            SELECT relname FROM pg_stat_user_tables
            WHERE schemaname = current_schema() AND (n_mod_since_analyze > 0 OR n_ins_since_vacuum > 0)
            ORDER BY pg_relation_size(relid) DESC
            """
        )
    ]
    progress("tidy", 0, len(tables))
    vacuum = sql.SQL("VACUUM (ANALYZE) {}")

    def one(name: str) -> None:
        try:
            db.rows("SELECT set_config('maintenance_work_mem', '1GB', false)")
            db.rows(vacuum.format(sql.Identifier(name)).as_string(None))
        finally:
            connection.close()

    with ThreadPoolExecutor(LANES) as pool:
        for done, _ in enumerate(pool.map(one, tables), start=1):
            progress("tidy", done, len(tables))


# --- users ----------------------------------------------------------------------------------------------------------

add_subject(
    Subject(
        name="users",
        table="shop_user",
        # Also customers who took such a name in other letters: names are unique whatever their case.
        last_number="""
            SELECT max(substr(username, 5)::bigint) FROM shop_user WHERE lower(username) ~ '^user[0-9]{7,15}$'
        """,
        rows_per_chunk=50_000,
    )
)


@fills("users")
def insert_users(chunk: Chunk) -> None:
    """Insert customers `user0000001`, …, who joined before the oldest seeded order and have no usable password."""
    chunk.run(
        """
        INSERT INTO shop_user (id, username, password, first_name, last_name, email, is_superuser, is_staff, is_active,
                               date_joined, token_generation)
        SELECT %(first_id)s + i, 'user' || lpad(number, greatest(7, length(number)), '0'), %(password)s, '', '', '',
               false, false, true,
               %(now)s - interval '91 days' - interval '365 days' * (1 - (%(done)s + i) / %(total)s::float8), 0
        FROM generate_series(0, %(count)s - 1) i, CAST(%(number)s + i AS text) number
        """,
        password=UNUSABLE_PASSWORD_PREFIX + "seeded",
    )


def seed_demo(*, demo_password: str, operator_password: str, now: datetime) -> bool:
    """
    Fill an empty shop with what a first visitor needs: `demo`, `operator`, products, coupons.

    Transaction: opens one, after that of the products.  Repeats: harmless; answers False and changes no password.
    """
    if User.objects.filter(username="demo").exists():
        return False
    if not any(db.rows(subject.last_number)[0][0] for subject in subjects().values() if subject.name == "products"):
        seed(wish=Wish(counts={"products": 200}), now=now, progress=lambda *_: None)
    with db.transaction():
        customer = User.objects.create_user("demo", password=demo_password, date_joined=now - timedelta(days=1))
        operator = User.objects.create_superuser("operator", password=operator_password, date_joined=now)
        for part in _demo_parts:
            part(Demo(customer_id=customer.pk, operator_id=operator.pk, now=now))
    return True
