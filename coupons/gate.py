"""
The coupon gate: one atomic Redis script per claim decides who is in, before any transaction.

Note [Gate versions]
~~~~~~~~~~~~~~~~~~~~
Each gate that is built has an epoch of its own from a PostgreSQL sequence, and issuance ids are
epoch * 2^32 + position: an id is never used twice, whatever Redis forgets. `Campaign.gate_version` changes with
whatever a gate must know: builds, edits, and claims taken under the row lock while Redis was away. It comes from a
sequence too: a build that was rolled back leaves a gate whose version must never become the campaign's. A gate of an
older version is demolished as soon as anybody sees it, and its undrained claims get in only while places last.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

from shop import connections

CLAIMS, PENDING = "gate:claims", "gate:pending"
LOAD_CHUNK = 5_000  # users sent to Redis in one command while a gate is rebuilt
_Entry = tuple[bytes, dict[bytes, bytes]]  # of a stream; like all answers cast below, bytes: no client decodes
KEPT_AFTER_CLOSE = timedelta(days=1)  # a gate asked for later is built again


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gate said: `outcome` as in claim.lua; the place, or when the campaign opens."""

    outcome: str
    position: int = 0
    issuance_id: int = 0
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class GateTerms:
    """What the gate must know of a campaign."""

    total: int
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A place taken at the gate that PostgreSQL may not know yet."""

    entry: str
    campaign_id: int
    user_id: int
    issuance_id: int

    @property
    def taken_at(self) -> float:
        """When Redis took it, in seconds since the epoch by its clock: the id of a stream's entry begins with it."""
        return int(self.entry.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class Pending:
    """A claim by its issuance id, until PostgreSQL has recorded it."""

    campaign_id: int
    user_id: int
    position: int


def gate_key(campaign_id: int) -> str:
    """Return the key of a campaign's gate hash: run_id, version, epoch, total, taken, opens_at, closes_at (ms)."""
    return f"gate:{campaign_id}"


def users_key(campaign_id: int) -> str:
    """Return the key of the hash user id -> "position:issuance id"."""
    return f"gate:{campaign_id}:users"


@cache
def _script(name: str) -> Any:
    """Return a script that is sent by hash and loaded again after SCRIPT FLUSH or a restart."""
    return connections.gate().register_script(Path(__file__).with_name(name).read_text())


def _run(name: str, *, keys: list[str], args: list[Any]) -> Any:
    """Run a script at the gate's server: a script remembers the client it was made with, this asks the present one."""
    return _script(name)(keys=keys, args=args, client=connections.gate())


def claim(*, campaign_id: int, user_id: int) -> Answer:
    """
    Ask for a place; atomic.

    Repeats: the second answer is `already` with the same place.
    Raises: DependencyUnavailable (shop.connections.breaker); the claim may have been taken even so.
    Source: DESIGN.md "The coupon gate".
    """
    keys = [gate_key(campaign_id), users_key(campaign_id), CLAIMS, PENDING]
    with connections.breaker.guard():
        outcome, fact = _run("claim.lua", keys=keys, args=[user_id, campaign_id])
    word = outcome.decode()
    if word in ("placed", "already"):
        position, issuance_id = _place(fact)
        return Answer(word, position=position, issuance_id=issuance_id)
    if word == "not_open":
        return Answer(word, opens_at=datetime.fromtimestamp(int(fact) / 1000, tz=UTC))
    return Answer(word)


def _place(fact: bytes) -> tuple[int, int]:
    position, _colon, issuance_id = fact.partition(b":")
    return int(position), int(issuance_id)


def build(
    *, campaign_id: int, version: int, epoch: int, terms: GateTerms, places: Iterable[tuple[int, int, int]]
) -> bool:
    """
    Open a campaign's gate with the places PostgreSQL knows; say whether it is open now.

    Shapes: places are (user id, position, issuance id).
    The caller holds the campaign's row lock: nobody records a place meanwhile.
    """
    redis = connections.gate()
    loading = f"{users_key(campaign_id)}:loading"
    with connections.breaker.guard():
        redis.delete(loading)
        mapping = {user_id: f"{position}:{issuance_id}" for user_id, position, issuance_id in places}
        items = list(mapping.items())
        for start in range(0, len(items), LOAD_CHUNK):
            redis.hset(loading, mapping=dict(items[start : start + LOAD_CHUNK]))
        fields = {
            "version": version,
            "epoch": epoch,
            "taken": len(items),
            "total": terms.total,
            "opens_at": _ms(terms.opens_at),
            "closes_at": _ms(terms.closes_at),
        }
        soonest = datetime.now(UTC)  # noqa: TID251 - Redis counts from its own present, not from the flow's moment
        expires_ms = _ms(max(terms.closes_at, soonest) + KEPT_AFTER_CLOSE)
        pairs = [part for pair in fields.items() for part in pair]
        keys = [gate_key(campaign_id), users_key(campaign_id), loading]
        return bool(_run("open.lua", keys=keys, args=[len(items), expires_ms, *pairs]))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def is_open_at(campaign_id: int, version: int) -> bool:
    """Say whether the campaign's gate stands, on this server, at this version."""
    redis = connections.gate()
    with connections.breaker.guard():
        run_id, stored = cast("list[bytes | None]", redis.hmget(gate_key(campaign_id), "run_id", "version"))
        if run_id is None or stored is None:
            return False
        return run_id.decode() == redis.info("server")["run_id"] and int(stored) == version


def demolish(campaign_id: int) -> None:
    """Remove a campaign's gate: whoever claims from now on has to wait for a new one."""
    with connections.breaker.guard():
        connections.gate().delete(gate_key(campaign_id), users_key(campaign_id))


def demolish_if_older(campaign_id: int, version: int) -> bool:
    """Remove a gate that does not know all places, so that it is rebuilt before anybody else gets in."""
    return _demolish_if(campaign_id, lambda stored: stored < version)


def demolish_older(versions: Mapping[int, int]) -> None:
    """Do the same for many campaigns at once: id -> version."""
    with connections.breaker.guard():
        pipe = connections.gate().pipeline(transaction=False)
        for campaign_id in versions:
            pipe.hget(gate_key(campaign_id), "version")
        stored = dict(zip(versions, pipe.execute(), strict=True))
    for campaign_id, found in stored.items():
        if found is not None and int(found) < versions[campaign_id]:
            demolish(campaign_id)


def demolish_unless_at(campaign_id: int, version: int) -> bool:
    """Remove a gate of any other version, also one whose build was never committed."""
    return _demolish_if(campaign_id, lambda stored: stored != version)


def _demolish_if(campaign_id: int, is_wrong: Callable[[int], bool]) -> bool:
    with connections.breaker.guard():
        stored = connections.gate().hget(gate_key(campaign_id), "version")
        if stored is None or not is_wrong(int(stored)):
            return False
        connections.gate().delete(gate_key(campaign_id), users_key(campaign_id))
        return True


def list_claims(*, limit: int | None = None, skip: Iterable[int] = (), campaign_id: int | None = None) -> list[Claim]:
    """Return claims in the order of arrival that have not been acknowledged, but for the issuance ids in `skip`."""
    skipped = set(skip)
    count = None if limit is None else limit + len(skipped)
    with connections.breaker.guard():
        entries = cast("list[_Entry]", connections.gate().xrange(CLAIMS, count=count))
    claims = [_claim(entry.decode(), fields) for entry, fields in entries]
    wanted = [item for item in claims if item.issuance_id not in skipped and campaign_id in (None, item.campaign_id)]
    return wanted[:limit]


def _claim(entry: str, fields: dict[bytes, bytes]) -> Claim:
    return Claim(
        entry=entry,
        campaign_id=int(fields[b"campaign"]),
        user_id=int(fields[b"user"]),
        issuance_id=int(fields[b"issuance"]),
    )


def acknowledge(claims: list[Claim]) -> None:
    """Forget claims that PostgreSQL has recorded. Lost, they are recorded again without effect."""
    with connections.breaker.guard():
        pipe = connections.gate().pipeline(transaction=True)
        pipe.xdel(CLAIMS, *(item.entry for item in claims))
        pipe.hdel(PENDING, *(str(item.issuance_id) for item in claims))
        pipe.execute()


def find_pending(issuance_id: int) -> Pending | None:
    """Return the claim with this issuance id if it waits to be recorded."""
    with connections.breaker.guard():
        fact = cast("bytes | None", connections.gate().hget(PENDING, str(issuance_id)))
    if fact is None:
        return None
    campaign_id, user_id, position = fact.split(b":")
    return Pending(int(campaign_id), int(user_id), int(position))


def find_places(campaign_ids: list[int], user_id: int) -> dict[int, tuple[int, int]]:
    """Return a user's places, campaign id -> (position, issuance id), at the gates of these campaigns."""
    if not campaign_ids:
        return {}
    with connections.breaker.guard():
        pipe = connections.gate().pipeline(transaction=False)
        for campaign_id in campaign_ids:
            pipe.hget(users_key(campaign_id), str(user_id))
        facts = pipe.execute()
    return {campaign_id: _place(fact) for campaign_id, fact in zip(campaign_ids, facts, strict=True) if fact}


def clock() -> float:
    """Return the gate's time, in seconds: claims are stamped with it (FAULTS.md F48)."""
    with connections.breaker.guard():
        seconds, microseconds = connections.gate().time()
    return int(seconds) + int(microseconds) / 1_000_000


def backlog() -> int:
    """Return how many claims wait to be recorded."""
    with connections.breaker.guard():
        return int(connections.gate().xlen(CLAIMS))
