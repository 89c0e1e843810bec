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
from django.db.models import Q
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
    `then` are the stages to wake when something moved.
    """

    name: str
    flow: Callable[..., None]
    first_waiting: Callable[..., int | None]
    then: tuple[str, ...] = ()


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
        with _sole_drainer(stage.name) as is_sole:
            if not is_sole:
                return total
            claimed, is_empty = _run_batches(stage, deadline)
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


@contextmanager
def _sole_drainer(name: str) -> Iterator[bool]:
    """Try to become the stage's one drainer. A session lock: it ends with the connection, so a crash frees it."""
    key = db.advisory_key(f"drain/{name}")
    is_sole: bool = db.rows("SELECT pg_try_advisory_lock(%s)", [key])[0][0]
    try:
        yield is_sole
    finally:
        if is_sole:
            db.rows("SELECT pg_advisory_unlock(%s)", [key])


def _run_batches(stage: Stage, deadline: float) -> tuple[int, bool]:
    """
    Run batches, smaller after a failure and growing again, and note the run so that a crash in it is seen.

    Return how many items were claimed, and whether that was all there is to do now.
    """
    wakeups.clear_flag(stage.name)
    if not _is_anything_waiting(stage):
        return 0, True
    total, size = 0, _first_size(stage)
    put_off: list[int] = []
    is_done = False
    while not is_done and time.monotonic() < deadline:
        wakeups.clear_flag(stage.name)  # before the claim: what commits from now on wakes the stage again
        _note_run(stage.name, size)
        claim = Claim(limit=size, skip=list_parked_ids(stage.name) + put_off)
        error = _run(stage, claim)
        put_off += claim.put_off
        if error is None:
            total += len(claim.taken)
            is_done = len(claim.taken) < size
            size = min(size * 2, settings.BATCH_SIZE)
        elif isinstance(error, (*db.TROUBLE, Busy)) or not claim.taken:
            is_done = True  # a lock, a time-out, a lost database, no item to blame: the next wake-up tries again
        else:
            size = _after_failure(stage, claim, error)
    _note_end(stage.name)
    wakeups.publish(*stage.then if total else ())
    return total, is_done


def _is_anything_waiting(stage: Stage) -> bool:
    """Look before anything is written: most wake-ups of a busy shop find their work done by the one before."""
    try:
        return stage.first_waiting(skip=list_parked_ids(stage.name)) is not None
    except Busy as error:  # Redis is away and nobody's item is to blame
        log.warning("stage_not_readable", stage=stage.name, error=repr(error))
        return False


def _run(stage: Stage, claim: Claim) -> Exception | None:
    try:
        stage.flow(claim=claim, now=timezone.now())
    except Exception as error:  # noqa: BLE001 - any item may fail in any way; it must not stop the line
        log.warning("batch_failed", stage=stage.name, items=len(claim.taken), error=repr(error))
        return error
    _unpark(stage.name, claim.taken)
    return None


def _after_failure(stage: Stage, claim: Claim, error: Exception) -> int:
    """Park an item that failed alone; else return half the batch, to find it."""
    # What fails after its commit (a time limit) is through: nobody would claim it again and so unpark it.
    if len(claim.taken) == 1 and stage.first_waiting(skip=claim.skip) == claim.taken[0]:
        park(stage.name, claim.taken[0], repr(error), now=timezone.now())
    return max(1, len(claim.taken) // 2)


# --- what a dead process leaves behind ------------------------------------------------------------------------------


def _note_run(name: str, size: int) -> None:
    """Record that a batch begins. The sole drainer writes it, so a row still running at its start is a dead process."""
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


def _note_end(name: str) -> None:
    db.rows(
        """
        WITH off AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
        UPDATE shop_stagerun SET is_running = false, crashes = 0 FROM off WHERE stage = %s
        """,
        [name],
    )


def _first_size(stage: Stage) -> int:
    """
    Return the batch size to begin with: one after a process died in this stage, else the full one.

    A row that kills its process is rolled back and first in order again; at size one and after three deaths it can
    only be the first waiting item, which is parked.
    """
    run = StageRun.objects.filter(stage=stage.name, is_running=True).first()
    if run is None or _is_alive(run.owner):
        return settings.BATCH_SIZE
    crashes = run.crashes + 1 if run.size == 1 else 0
    log.warning("process_died_in_batch", stage=stage.name, size=run.size, crashes=crashes)
    if crashes >= CRASHES_BEFORE_PARKING:
        item_id = stage.first_waiting(skip=list_parked_ids(stage.name))
        if item_id is not None:
            park(stage.name, item_id, "its process died each time", now=timezone.now(), for_good=True)
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


def list_parked_ids(name: str) -> list[int]:
    """Return the items of a stage that are not to be claimed now."""
    waiting = Q(parked_until__isnull=True) | Q(parked_until__gt=timezone.now())
    return list(ParkedItem.objects.filter(waiting, stage=name).values_list("item_id", flat=True))


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


def _unpark(name: str, item_ids: list[int]) -> None:
    """Forget that these items were once parked: they went through."""
    if item_ids and ParkedItem.objects.filter(stage=name).exists():
        ParkedItem.objects.filter(stage=name, item_id__in=item_ids).delete()


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
