"""Somebody holds what the shop needs: rows, or a transaction that is never ended."""

from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import psycopg

from loadtests.drills import levers
from loadtests.drills.registry import Control, Expectation, Scene, drill

Fault = Generator[None, None, None]
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@drill(
    "locks",
    faults="F16 F25",
    expect=Expectation(recovered_s=5.0),
    hold=6.0,
    control=Control("time-limits", breaks="longest"),
)
def lock_storm(scene: Scene) -> Fault:
    users = scene.dice.sample(list(scene.cast.users), len(scene.cast.users) // 2)
    products = scene.dice.sample(list(scene.cast.products), 10)
    with ExitStack() as held:
        held.enter_context(levers.holding(scene, levers.WALLETS, users))
        held.enter_context(levers.holding(scene, levers.STOCK, products))
        held.enter_context(levers.holding(scene, levers.CAMPAIGNS, scene.cast.campaigns))
        waiting = levers.blocked(scene, "shop-web", 2)
        if waiting:
            scene.prove("queued", connections=len(waiting))
        yield


@drill("locks", faults="F26", expect=Expectation(recovered_s=5.0), hold=8.0)
def deadlock(scene: Scene) -> Fault:
    """
    Hold the last wallet, wait until a batch that holds others queues for it, then ask for those others.

    The shop's own transactions cannot do this to each other (Note [Lock order]); a stranger's can.
    """
    *others, last = scene.cast.users
    until = scene.clock.now() + 7.0
    with scene.house.connect() as connection:
        before = _deadlocks(connection)
        while _deadlocks(connection) == before and scene.clock.now() < until:
            _cross(scene, others, last)
        if (count := _deadlocks(connection) - before) > 0:
            scene.prove("deadlocked", count=count)
    yield


def _deadlocks(connection: psycopg.Connection[Any]) -> int:
    """Return how many deadlocks PostgreSQL has broken; a backend tells its count up to a second later."""
    ((count,),) = connection.execute(DEADLOCKS).fetchall()
    return int(count)


def _cross(scene: Scene, others: list[int], last: int) -> None:
    """Try once to stand in a circle with a batch; PostgreSQL ends one of the two."""
    with levers.holding(scene, levers.WALLETS, [last]) as stranger:
        product = scene.dice.choice(scene.cast.products)
        users = [*scene.dice.sample(others, 6), last]
        scene.now_too([levers.order(scene, user, product) for user in users])
        levers.blocked(scene, "shop-worker", 1)
        try:
            stranger.execute("SET LOCAL lock_timeout = '3s'")
            stranger.execute(levers.WALLETS, [others])
        except psycopg.OperationalError as error:
            scene.note("broken", error=str(error).splitlines()[0])
    scene.clock.wait_until(scene.clock.now() + 1.2)


@drill("locks", faults="F27", expect=Expectation(recovered_s=5.0), hold=13.0)
def idle_in_transaction(scene: Scene) -> Fault:
    users = scene.dice.sample(list(scene.cast.users), len(scene.cast.users) // 2)
    connection = scene.house.connect()
    connection.execute("BEGIN")
    connection.execute(levers.WALLETS, [users])
    yield  # nobody ends it: PostgreSQL must, after its own time limit
    try:
        connection.execute("ROLLBACK")
    except psycopg.errors.IdleInTransactionSessionTimeout:
        scene.prove("idle_ended")
    finally:
        connection.close()
