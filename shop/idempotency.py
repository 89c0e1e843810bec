"""
A keyed request is answered once: the record of its answer commits together with its effect.

Note [In flight]
~~~~~~~~~~~~~~~~
An uncommitted INSERT of the same key would make a second request wait for the first. So the first takes a transaction's
advisory lock on the key, and whoever cannot have it at once hears "in flight". The lock ends with the transaction, so
after a crash the retry simply does the work.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import F, QuerySet

from shop import db, errors, jsontext
from shop.models import IdempotencyRecord
from shop.problems import status_of

T = TypeVar("T")


@dataclass(slots=True)
class Key:
    """
    A client's idempotency key with its scope and what it was sent with.

    `replayed` is set here when the answer is a remembered one.
    """

    user_id: int
    route: str
    key: str
    fingerprint: bytes
    replayed: bool = field(default=False)


class Slot(Generic[T]):
    """The place for the answer of one request; `fresh` says that the work is still to be done."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.fresh = True
        self._answer: T | None = None
        self.refusal: errors.Failure | None = None

    def finish(self, answer: T) -> None:
        """Keep the answer of the work just done."""
        self._answer = answer

    def refuse(self, refusal: errors.Failure) -> None:
        """Keep the refusal the work ended in."""
        self.refusal = refusal

    def answer(self) -> T:
        """Return the answer, new or remembered, or raise the refusal. Call it after the transaction."""
        if self.refusal is not None:
            raise self.refusal
        if self._answer is None:
            raise RuntimeError("the work neither finished nor refused")
        return self._answer


class Record(NamedTuple):
    """What is remembered of a key; `status` 0: its work began outside a transaction and has not answered yet."""

    fingerprint: bytes
    status: int
    answer: dict[str, Any]
    created_at: datetime


def _restored(kind: type[Any], values: dict[str, Any]) -> Any:
    """Build the dataclass `kind` from JSON; times come back as datetimes."""
    times = {field.name for field in fields(kind) if field.type in (datetime, "datetime")}
    return kind(**{name: datetime.fromisoformat(value) if name in times else value for name, value in values.items()})


def _class_of(code: str) -> type[errors.Failure]:
    kinds = [errors.Failure]
    while kinds:
        kind = kinds.pop()
        if kind.__dict__.get("code") == code:
            return kind
        kinds.extend(kind.__subclasses__())
    raise LookupError(code)


def _replay(record: Record, key: Key, slot: Slot[Any]) -> None:
    if record.fingerprint != key.fingerprint:
        raise errors.IdempotencyKeyReused
    slot.fresh, key.replayed = False, True
    if record.status < 400:
        slot.finish(_restored(slot.kind, record.answer))
    else:
        slot.refuse(_restored(_class_of(record.answer["code"]), record.answer["facts"]))


REFUSE, REPLACE = (
    "ON CONFLICT (user_id, route, key) DO NOTHING RETURNING 1",
    """
    ON CONFLICT (user_id, route, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
                                                    answer = excluded.answer, created_at = excluded.created_at
    RETURNING 1
    """,
)


@db.transaction_required
def remember(key: Key, slot: Slot[Any], *, now: datetime, on_conflict: str = REPLACE) -> None:
    """
    Record the answer or the refusal in `slot`. Transaction: requires the one of the work, or one after it.

    Raises: IdempotencyKeyInFlight, with REFUSE, when somebody else has recorded an answer to this key.
    """
    if slot.refusal is not None:
        status, answer = status_of(type(slot.refusal)), {"code": slot.refusal.code, "facts": slot.refusal.facts()}
    else:
        status, answer = 200, slot.answer()
    # One statement, where update_or_create needs six: two savepoints for a race that the key's lock rules out.
    recorded = db.rows(
        f"""
        INSERT INTO shop_idempotencyrecord (user_id, route, key, fingerprint, status, answer, created_at)
        VALUES (%(user)s, %(route)s, %(key)s, %(fingerprint)s, %(status)s, %(answer)s::jsonb, %(now)s)
        {on_conflict}
        """,  # noqa: S608 - one of the two above
        {
            "user": key.user_id,
            "route": key.route,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "status": status,
            "answer": jsontext.dump(answer).decode(),
            "now": now,
        },
    )
    if not recorded:
        raise errors.IdempotencyKeyInFlight


LOCK = "SELECT pg_try_advisory_xact_lock(%(lock)s)"
FIND = """
SELECT fingerprint, status, answer, created_at FROM shop_idempotencyrecord
WHERE user_id = %(user)s AND route = %(route)s AND key = %(key)s
"""


def lock_of(key: Key) -> int:
    """
    Return the number of the key's lock.

    Clients choose keys, and the pipeline's locks have numbers of the same kind: whoever could compute this one could
    choose a key that keeps a stage waiting.
    """
    name = f"{key.user_id}/{key.route}/{key.key}".encode()
    digest = blake2b(name, digest_size=8, key=settings.SECRET_KEY.encode()[:64]).digest()
    return int.from_bytes(digest, "big", signed=True)


def take(key: Key) -> Record | None:
    """
    Take the key until the transaction ends, set its savepoint, and return what is remembered of the key.

    Transaction: requires one.  Locks: the idempotency key (advisory).
    Raises: IdempotencyKeyInFlight.
    """
    # Three statements in one round trip, not one statement: that would look for the record as it was before the lock,
    # and miss the answer of a request that committed in between.
    (((is_ours,),), found, _) = db.several(
        f"{LOCK}; {FIND}; {db.SAVEPOINT}",
        {"lock": lock_of(key), "user": key.user_id, "route": key.route, "key": key.key},
    )
    if not is_ours:
        raise errors.IdempotencyKeyInFlight
    return _record(*found[0]) if found else None


def _record(fingerprint: bytes, status: int, answer: str, created_at: datetime) -> Record:
    return Record(bytes(fingerprint), status, json.loads(answer), created_at)


@contextmanager
def once(key: Key | None, kind: type[T], *, now: datetime) -> Iterator[Slot[T]]:
    """
    Hold the work of one request; with a key its answer, or its refusal, is remembered in the same transaction.

    A refusal rolls the work back to a savepoint, is kept, and lets the transaction commit; `slot.answer()` raises it
    afterwards. Without a key the work just runs and a refusal leaves at once.
    Transaction: requires one.  Locks: the idempotency key.
    Raises: IdempotencyKeyInFlight, IdempotencyKeyReused.
    """
    slot: Slot[T] = Slot(kind)
    if key is None:
        yield slot
        return
    if (record := take(key)) is not None:
        _replay(record, key, slot)
        yield slot
        return
    try:
        with db.savepoint(errors.Refused, errors.NotFound, is_set=True):
            yield slot
    except (errors.Refused, errors.NotFound) as refusal:
        slot.refuse(refusal)
    # The lock has kept others away, but for a process of another release or with another secret key.
    remember(key, slot, now=now, on_conflict=REFUSE)


TAKE_OVER_SECONDS = 10
"""Work outside a transaction that has not answered for this long died; FAULTS.md P12 bounds a request to 5 s."""


@dataclass(slots=True)
class Begun(Generic[T]):
    """Work that runs outside any transaction: its slot, and whether an earlier attempt died before it answered."""

    slot: Slot[T]
    resumed: bool = False


def begin(key: Key, kind: type[T], *, now: datetime) -> Begun[T]:
    """
    Record that keyed work outside a transaction begins, or find its answer.

    Transaction: requires one, which must commit before the work.  Locks: the idempotency key.
    Raises: IdempotencyKeyInFlight, IdempotencyKeyReused.
    """
    begun = Begun(Slot(kind))
    record = take(key)
    if record is None:
        IdempotencyRecord.objects.create(
            user_id=key.user_id, route=key.route, key=key.key, fingerprint=key.fingerprint, created_at=now
        )
    elif record.status:
        _replay(record, key, begun.slot)
    elif (now - record.created_at).total_seconds() < TAKE_OVER_SECONDS:
        raise errors.IdempotencyKeyInFlight if record.fingerprint == key.fingerprint else errors.IdempotencyKeyReused
    else:
        # What ended in a 5xx is not remembered (API.md): with another body the key is a new request's.
        begun.resumed = record.fingerprint == key.fingerprint
        _records(key).update(created_at=now, fingerprint=key.fingerprint)
    return begun


def suspend(key: Key) -> None:
    """Note that work outside a transaction ended without an answer: the next attempt resumes it at once."""
    long_ago = F("created_at") - timedelta(seconds=TAKE_OVER_SECONDS)
    _records(key).filter(status=0).update(created_at=long_ago)


def _records(key: Key) -> QuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.filter(user_id=key.user_id, route=key.route, key=key.key)


@db.transaction_required
def forget_older_than(moment: datetime, *, limit: int) -> int:
    """Forget so many answers recorded before `moment`; return how many. Keys live at least 24 h (API.md)."""
    oldest = IdempotencyRecord.objects.filter(created_at__lt=moment).order_by("created_at").values("pk")[:limit]
    return IdempotencyRecord.objects.filter(pk__in=list(oldest.values_list("pk", flat=True))).delete()[0]
