"""
The customers, and the settler of the batch strategy, in processes of their own.

Several processes, because in one the interpreter's lock would decide the race. They import no Django, are started once
and take one task after the other. Moments are time.monotonic(), which all processes of a machine share.
"""

import contextlib
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psycopg

from loadtests.lab import strategies
from loadtests.lab.answers import DEADLOCK, TIMED_OUT, Answer, Timed
from loadtests.lab.market import Order
from loadtests.lab.means import Means, Servers, Strategy, connect
from loadtests.lab.strategies import batch

READY, GO, FINISH = "ready", "go", "finish"


@dataclass(frozen=True, slots=True)
class Buy:
    """
    A share of the customers: each has a list of orders and sends one after the other until the time is up.

    `orders_per_second` counts all customers together; None is as fast as each is answered.
    """

    strategy: str
    servers: Servers
    carts: list[list[Order]]
    seconds: float
    orders_per_second: float | None


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle what the customers leave, until FINISH and nothing is left."""

    servers: Servers


@dataclass(frozen=True, slots=True)
class Done:
    """What one process did, and the CPU time that took it."""

    timed: list[Timed]
    settled: dict[int, float]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The process could not do its task."""

    what: str


def serve(pipe: Connection) -> None:
    """Do tasks until the pipe closes: the parent has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task = pipe.recv()
            try:
                done: Done | Broken = buy(task, pipe) if isinstance(task, Buy) else settle(task, pipe)
            except EOFError:
                raise
            except Exception:  # noqa: BLE001 - whatever it is, the parent must hear of it
                done = Broken(traceback.format_exc())
            pipe.send(done)


def buy(task: Buy, pipe: Connection) -> Done:
    """Play the customers of one task, each in a thread with connections of its own."""
    means = [connect(task.servers) for _cart in task.carts]
    try:
        customers = [Customer(task, cart, mine) for cart, mine in zip(task.carts, means, strict=True)]
        began_at, cpu = _begin(pipe), _cpu_seconds()
        threads = [threading.Thread(target=customer.shop, args=[began_at], daemon=True) for customer in customers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for mine in means:
            mine.close()
    for customer in customers:
        if customer.error is not None:
            raise customer.error
    return Done([timed for customer in customers for timed in customer.timed], {}, _cpu_seconds() - cpu)


class Customer:
    """One customer: sends the orders of a cart in turn."""

    def __init__(self, task: Buy, orders: list[Order], means: Means) -> None:
        self._task, self._orders = task, orders
        self._strategy: Strategy = strategies.BY_NAME[task.strategy](means)
        self.timed: list[Timed] = []
        self.error: Exception | None = None

    def shop(self, began_at: float) -> None:
        """Send orders until the last, or until the time is up; what is under way then is still waited for."""
        try:
            for order in self._orders:
                due = self._due(order, began_at)
                _sleep_until(due or began_at)
                began = time.monotonic()
                if began - began_at >= self._task.seconds:
                    return
                answer = place_order(self._strategy, order)
                ended = time.monotonic()
                self.timed.append(Timed(order.number, answer, due or began, ended))
        except Exception as error:  # noqa: BLE001 - raised again in the process's own thread
            self.error = error

    def _due(self, order: Order, began_at: float) -> float | None:
        """Return the moment the order is due. Timing it from when it was sent would hide that it had to queue."""
        rate = self._task.orders_per_second
        return None if rate is None else began_at + (order.number - 1) / rate


def place_order(strategy: Strategy, order: Order) -> Answer:
    """Place an order; PostgreSQL's own refusals to wait any longer become the customer's answer."""
    try:
        return strategy.place(order)
    except psycopg.errors.LockNotAvailable:
        return Answer(TIMED_OUT)
    except psycopg.errors.DeadlockDetected:
        return Answer(DEADLOCK)


def settle(task: Settle, pipe: Connection) -> Done:
    """Be the settler until the parent says that nobody orders any more."""
    means = connect(task.servers)
    try:
        settler = batch.Settler(means)
        _begin(pipe)
        cpu = _cpu_seconds()
        settler.work(_said_once(pipe, FINISH))
    finally:
        means.close()
    return Done([], settler.settled, _cpu_seconds() - cpu)


def _said_once(pipe: Connection, word: str) -> Callable[[], bool]:
    def is_said() -> bool:
        return pipe.poll() and pipe.recv() == word

    return is_said


def _begin(pipe: Connection) -> float:
    """Say that all connections stand, and wait for the moment to begin."""
    pipe.send(READY)
    word, moment = pipe.recv()
    if word != GO:
        raise RuntimeError(f"told {word!r} before the beginning")
    return float(moment)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
