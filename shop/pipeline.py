"""
Stages: wake-ups that claim the next batch, settle it in one transaction, and repeat until none is left.

A message carries no state. It may be lost, doubled or late without harm: the sweep wakes every stage each few seconds,
and one that finds nothing waiting writes nothing. What the pipeline remembers about itself are two small tables:
`StageRun` (did a process die in a batch?) and `ParkedItem` (items that failed alone).
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from shop import db, wakeups
from shop.errors import Busy
from shop.models import ParkedItem, StageRun

log = structlog.get_logger("shop.pipeline")

RUN_SECONDS = 2.0  # a task that runs longer wakes itself instead: warm shutdowns stay short (FAULTS.md 4.1)
ATTEMPTS_BEFORE_A_PERSON = 5  # FAULTS.md 4.1
CRASHES_BEFORE_PARKING = 3  # FAULTS.md F15
LONGEST_PARKING_SECONDS = 300


@dataclass(slots=True)
class Claim:
    """
    How much a stage may claim. The claiming operation notes in `taken` what it got.

    The runner reads `taken` after a failure: it is the one way to know which item failed alone. `put_off` are taken
    items that wait for something else; this drain leaves them alone from then on.
    """

    limit: int
    skip: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    put_off: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the pipeline; `name` is also its Celery task's.

    `flow(claim=, now=)` settles one batch; `first_waiting(skip=)` names the item it would claim first, without a lock;
    `then` are the stages to wake when something moved, `then_if_waiting` only when something waits there already.
    """

    name: str
    flow: Callable[..., None]
    first_waiting: Callable[..., int | None]
    then: tuple[str, ...] = ()
    then_if_waiting: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _stages.setdefault(self.name, self)


_stages: dict[str, Stage] = {}  # by name: a room wakes stages of rooms it does not know


@db.transaction_required
def lock_stage(name: str) -> None:
    """
    Wait for the stage's turn, until the transaction ends.

    Claiming with SKIP LOCKED alone is not first come, first served: in 23 of 40 measured runs four workers sold to a
    later order past an earlier one; with this lock in 0 of 40 (DESIGN.md "The order pipeline").
    Raises: OperationalError after lock_timeout.
    """
    db.rows("SELECT pg_advisory_xact_lock(%s)", [db.advisory_key(f"stage/{name}")])


def drain(stage: Stage) -> int:
    """
    Run batches of `stage` until one comes back short or the time is up; return how many items were claimed.

    One worker drains a stage at a time; others return at once and are free for other stages.
    Transaction: each flow call opens its own.
    Repeats: harmless.
    """
    total = 0
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        with _turn_of(stage.name) as turn:
            if not turn.is_ours:
                return total
            claimed, is_empty = _run_batches(stage, turn, deadline)
        total += claimed
        # A wake-up may have bounced off while we held the lock; it left its flag, because only the holder clears it.
        if is_empty and not wakeups.is_flag_set(stage.name):
            return total
        if time.monotonic() >= deadline:
            _hand_over(stage)
            return total


def _hand_over(stage: Stage) -> None:
    """
    Wake the stage for another worker, or for this one when it has looked at its signals.

    Only now that the lock is free: a wake-up published earlier could bounce off this very drain. The flag is cleared
    first, because one that is set already would swallow the wake-up.
    """
    wakeups.clear_flag(stage.name)
    wakeups.publish(stage.name)


def _run_batches(stage: Stage, turn: "_Turn", deadline: float) -> tuple[int, bool]:
    """
    Run batches, smaller after a failure and growing again, and note the run so that a crash in it is seen.

    Return how many items were claimed, and whether that was all there is to do now.
    """
    wakeups.clear_flag(stage.name)  # before the first look: what commits from now on wakes the stage again
    if not _is_anything_waiting(stage, turn.parked):
        return 0, True
    total, size = 0, _first_size(stage, turn)
    is_done = False
    while not is_done and time.monotonic() < deadline:
        turn.note_run(size)
        claim = Claim(limit=size, skip=turn.parked)
        error = _run(stage, claim)
        if error is None:
            turn.note_passed(claim)
            total += len(claim.taken)
            if len(claim.taken) > len(claim.put_off):
                _wake_next(stage)
            is_done = len(claim.taken) < size
            size = min(size * 2, settings.BATCH_SIZE)
        elif isinstance(error, (*db.TROUBLE, Busy)) or not claim.taken:
            is_done = True  # a lock, a time-out, a lost database, no item to blame: the next wake-up tries again
        else:
            size = _after_failure(stage, turn, claim, error)
    turn.is_over = True
    return total, is_done


def _wake_next(stage: Stage) -> None:
    """
    Wake the stages that have work now.

    After each batch, not only after the last: so another process works on one batch while this one makes the next.
    """
    idle = {name for name in stage.then_if_waiting if name in _stages and not _is_anything_waiting(_stages[name], [])}
    wakeups.publish(*stage.then, *(name for name in stage.then_if_waiting if name not in idle))


def _is_anything_waiting(stage: Stage, parked: list[int]) -> bool:
    """Look before anything is written: most wake-ups of a busy shop find their work done by the one before."""
    try:
        return stage.first_waiting(skip=parked) is not None
    except Busy as error:  # Redis is away and nobody's item is to blame
        log.warning("stage_not_readable", stage=stage.name, error=repr(error))
        return False


def _run(stage: Stage, claim: Claim) -> Exception | None:
    try:
        stage.flow(claim=claim, now=timezone.now())
    except Exception as error:  # noqa: BLE001 - any item may fail in any way; it must not stop the line
        log.warning("batch_failed", stage=stage.name, items=len(claim.taken), error=repr(error))
        return error
    return None


def _after_failure(stage: Stage, turn: "_Turn", claim: Claim, error: Exception) -> int:
    """Park an item that failed alone; else return half the batch, to find it."""
    # What fails after its commit (a time limit) is through: nobody would claim it again and so unpark it.
    if len(claim.taken) == 1 and stage.first_waiting(skip=claim.skip) == claim.taken[0]:
        park(stage.name, claim.taken[0], repr(error), now=timezone.now())
        turn.parked += claim.taken
    return max(1, len(claim.taken) // 2)


# --- a stage's turn -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """
    The right to be a stage's one drainer, and what the runner must know and write down for it.

    Trickling orders make a batch of a few rows, so what surrounds a batch is most of its cost: one statement begins a
    turn and reads all that is known of the stage, one ends it, and a run is noted when its size changes.
    """

    name: str
    is_ours: bool
    parked: list[int]  # not to be claimed in this turn
    due: list[int]  # parked once, free again
    left_behind: StageRun | None  # a run that nobody ended
    is_over: bool = False
    noted_size: int = 0

    def note_run(self, size: int) -> None:
        """Record that batches of this size begin; a row still running when the next turn begins is a dead process."""
        if size != self.noted_size:
            _note_run(self.name, size)
            self.noted_size = size

    def note_passed(self, claim: Claim) -> None:
        """Leave alone what was put off, and forget that items were once parked: they went through."""
        self.parked += claim.put_off
        if passed := set(self.due).intersection(claim.taken):
            ParkedItem.objects.filter(stage=self.name, item_id__in=passed).delete()


@contextmanager
def _turn_of(name: str) -> Iterator[_Turn]:
    """Try to become the stage's one drainer. A session lock: it ends with the connection, so a crash frees it."""
    turn = _begin_turn(name)
    try:
        yield turn
    finally:
        if turn.is_ours:
            try:
                _end_turn(turn)
            except BaseException:
                connection.close()  # the lock would stay with a session that goes on, and keep all others out
                raise


def _begin_turn(name: str) -> _Turn:
    # What is read may be older than the lock by a moment, in which the drainer before us parked an item: we would try
    # it once too often. Accepted.
    is_ours, parked, due, *run = db.rows(
        """
        SELECT pg_try_advisory_lock(%(key)s),
               ARRAY(SELECT item_id FROM shop_parkeditem
                     WHERE stage = %(stage)s AND (parked_until IS NULL OR parked_until > now())),
               ARRAY(SELECT item_id FROM shop_parkeditem WHERE stage = %(stage)s AND parked_until <= now()),
               run.size, run.crashes, run.owner
        FROM (VALUES (true)) AS running (is_running)
        LEFT JOIN shop_stagerun AS run ON run.is_running = running.is_running AND run.stage = %(stage)s
        """,
        {"key": db.advisory_key(f"drain/{name}"), "stage": name},
    )[0]
    size, crashes, owner = run
    left_behind = None if size is None else StageRun(stage=name, size=size, crashes=crashes, owner=owner)
    return _Turn(name, is_ours, parked, due, left_behind)


def _end_turn(turn: _Turn) -> None:
    """Note the run's end, then let the lock go: in this order, else the next drainer's note would be wiped out."""
    db.rows(
        """
        WITH off AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), ended AS (
            UPDATE shop_stagerun SET is_running = false, crashes = 0 FROM off WHERE stage = %(stage)s AND %(is_over)s
            RETURNING 1
        )
        SELECT pg_advisory_unlock(%(key)s) FROM (SELECT count(*) FROM ended) AS first
        """,
        {"key": db.advisory_key(f"drain/{turn.name}"), "stage": turn.name, "is_over": turn.is_over},
    )


# --- what a dead process leaves behind ------------------------------------------------------------------------------


def _note_run(name: str, size: int) -> None:
    # Both notes guard against dead processes, not dead servers: each is one statement whose commit waits for no disk.
    db.rows(
        """
        WITH off AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
        INSERT INTO shop_stagerun (stage, is_running, size, crashes, began_at, owner)
        SELECT %(stage)s, true, %(size)s, 0, now(), %(owner)s FROM off
        ON CONFLICT (stage) DO UPDATE SET is_running = true, size = excluded.size, began_at = excluded.began_at,
                                          owner = excluded.owner
        """,
        {"stage": name, "size": size, "owner": _this_process()},
    )


def _first_size(stage: Stage, turn: _Turn) -> int:
    """
    Return the batch size to begin with: one after a process died in this stage, else the full one.

    A row that kills its process is rolled back and first in order again; at size one and after three deaths it can
    only be the first waiting item, which is parked.
    """
    run = turn.left_behind
    if run is None or _is_alive(run.owner):
        return settings.BATCH_SIZE
    crashes = run.crashes + 1 if run.size == 1 else 0
    log.warning("process_died_in_batch", stage=stage.name, size=run.size, crashes=crashes)
    if crashes >= CRASHES_BEFORE_PARKING:
        item_id = stage.first_waiting(skip=turn.parked)
        if item_id is not None:
            park(stage.name, item_id, "its process died each time", now=timezone.now(), for_good=True)
            turn.parked.append(item_id)
        crashes = 0
    StageRun.objects.filter(stage=stage.name).update(crashes=crashes)
    return 1


def _this_process() -> str:
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


def _is_alive(owner: str) -> bool:
    """
    Say whether the process that left a run behind still lives: then the database went away under it.

    Without this three outages in a row, each at batch size one, would park an innocent order for good.
    """
    host, _colon, pid = owner.rpartition(":")
    if host != socket.gethostname()[:80]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- items set aside ------------------------------------------------------------------------------------------------


def park(name: str, item_id: int, error: str, *, now: datetime, for_good: bool = False) -> None:
    """Set an item aside: for 2, 4, 8 ... 300 s; after five tries, or `for_good`, until a person retries it."""
    item, _created = ParkedItem.objects.get_or_create(
        stage=name, item_id=item_id, defaults={"attempts": 0, "last_error": "", "updated_at": now}
    )
    item.attempts += 1
    is_final = for_good or item.attempts >= ATTEMPTS_BEFORE_A_PERSON
    item.parked_until = None if is_final else now + timedelta(seconds=min(2**item.attempts, LONGEST_PARKING_SECONDS))
    item.last_error, item.updated_at = error[:2_000], now
    item.save()
    log.error("item_parked", stage=name, item_id=item_id, attempts=item.attempts, error=error)


def retry_parked(*, parked_ids: list[int]) -> int:
    """
    Let parked items be claimed again at once and wake their stages; return how many there were.

    Transaction: opens one.  Repeats: harmless.
    """
    with db.transaction():
        parked = ParkedItem.objects.filter(pk__in=parked_ids)
        stages = set(parked.values_list("stage", flat=True))
        count = parked.update(parked_until=timezone.now(), attempts=0)
        db.run_after_commit(lambda: wakeups.publish(*stages))
    return count
