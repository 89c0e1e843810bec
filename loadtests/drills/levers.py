"""What faults pull at: rows that are held, backends that wait, messages that are stolen, crowds of customers."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, cast

import psycopg
import redis

from loadtests import procfs
from loadtests.drills import facts
from loadtests.drills.registry import Scene
from loadtests.drills.traffic import Op
from shop.local import processes

FIRST_EXTRA = 1_000_000  # numbers of what the schedule does not hold
EXTRA_AMOUNT = 2_000_000  # likewise; no scheduled charge is that large
BLOCKED_SECONDS = 8.0
THIEVES = 24
STAGE_QUEUES = ("orders", "coupons")

WALLETS = "SELECT FROM balance_wallet WHERE user_id = ANY(%s) ORDER BY account_id FOR UPDATE"
STOCK = "SELECT FROM catalog_stock WHERE product_id = ANY(%s) ORDER BY product_id FOR UPDATE"
CAMPAIGNS = "SELECT FROM coupons_campaign WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
BLOCKED = """
    SELECT pid, client_port FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'
"""


@contextmanager
def holding(scene: Scene, statement: str, keys: Sequence[int]) -> Iterator[psycopg.Connection[Any]]:
    """Hold rows as a stranger's transaction does, until the block ends."""
    with scene.house.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(statement, [list(keys)])
        yield connection
        connection.execute("ROLLBACK")


def blocked(scene: Scene, application: str, count: int) -> list[int]:
    """Wait until so many connections of `shop-web` or `shop-worker` queue for a lock; return their backends."""
    with scene.house.connect() as connection:

        def waiting() -> list[int]:
            return [pid for pid, _port in connection.execute(BLOCKED, [application])]

        processes.wait_until(lambda: len(waiting()) >= count, BLOCKED_SECONDS)
        return waiting()


def most_blocked(scene: Scene, application: str, pids: Sequence[int]) -> int:
    """Return which of these processes has the most connections that queue for a lock. Raises RuntimeError: none has."""
    with scene.house.connect() as connection:
        waiting = {port for _pid, port in connection.execute(BLOCKED, [application])}
    counts = {pid: len(waiting & procfs.local_ports(pid)) for pid in pids}
    found = max(counts, key=lambda pid: counts[pid])
    if not counts[found]:
        raise RuntimeError(f"none of {pids} waits for a lock")
    return found


def batch_owner(scene: Scene, stage: str) -> int:
    """Return the process that runs a batch of this stage now, 0 if none does."""
    with scene.house.connect() as connection:
        row = connection.execute("SELECT owner FROM shop_stagerun WHERE stage = %s AND is_running", [stage]).fetchone()
    return int(row[0].rpartition(":")[2]) if row else 0


# --- customers beyond the schedule ----------------------------------------------------------------------------------


def next_number(scene: Scene) -> int:
    """Return a number for an extra op; it makes amounts and keys unique."""
    scene.extra_ops += 1
    return FIRST_EXTRA + scene.extra_ops


def charge(scene: Scene, user: int) -> Op:
    """Return a charge that the schedule does not hold."""
    amount = EXTRA_AMOUNT + scene.extra_ops
    return _wanted(scene, "charge", user, facts.charge_intent(user, amount), {"amount": amount})


def order(scene: Scene, user: int, product: int) -> Op:
    """Return an order of a quantity that no schedule asks for."""
    quantity = 10 + scene.extra_ops
    body = {"items": [{"product_id": product, "quantity": quantity}]}
    return _wanted(scene, "order", user, facts.order_intent(user, [(product, quantity)]), body)


def claim(scene: Scene, user: int, campaign: int) -> Op:
    return _wanted(scene, "claim", user, facts.claim_intent(user, campaign), {"coupon_id": campaign})


def _wanted(scene: Scene, kind: str, user: int, intent: str, body: dict[str, Any]) -> Op:
    """Return what a patient customer wants at once, with a key."""
    number = next_number(scene)
    return Op(
        number=number,
        at=0.0,
        kind=kind,
        user=user,
        intent=intent,
        body=body,
        key=f"extra-{number}",
        is_patient=True,
        luck=scene.dice.random(),
    )


# --- wake-ups -------------------------------------------------------------------------------------------------------


class Thieves:
    """
    Consumers that take the stages' wake-ups before the worker does.

    Redis serves whoever has waited longest, so of two dozen waiting consumers the worker is seldom next. Deleting the
    queue would not do: a message for somebody who waits never lies in it.
    """

    def __init__(self, scene: Scene) -> None:
        self.stolen: list[tuple[bytes, bytes]] = []
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._steal, args=(scene.house.redis(0),), daemon=True) for _ in range(THIEVES)
        ]
        for thread in self._threads:
            thread.start()

    def _steal(self, client: redis.Redis) -> None:
        while not self._stopped.is_set():
            if (taken := client.brpop(list(STAGE_QUEUES), timeout=0.5)) is not None:
                self.stolen.append(cast("tuple[bytes, bytes]", taken))
        client.close()

    def stop(self) -> list[tuple[bytes, bytes]]:
        """Stop stealing; return (queue, message) in the order of the theft."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.stolen


def put_back(scene: Scene, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Queue messages again, the first of them to be taken first."""
    pipe = scene.house.redis(0).pipeline(transaction=False)
    for queue, message in messages:
        pipe.lpush(queue, message)
    pipe.execute()


def queue_length(scene: Scene) -> int:
    client = scene.house.redis(0)
    return sum(int(client.llen(queue)) for queue in STAGE_QUEUES)


# --- processes ------------------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    try:
        return not processes.is_zombie(pid)
    except OSError:
        return False


def gone_already() -> AbstractContextManager[None]:
    """Not mind that a process has gone before it could be killed."""
    return suppress(ProcessLookupError)
