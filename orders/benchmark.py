"""How fast one worker settles a backlog on this machine, and what a trickle of orders costs it."""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone

from orders import flows, queries
from orders.models import Order
from orders.pricing import LineRequest
from shop import connections, db, health, seeding, wakeups

USERS, RICH = 2_000, 1_000_000_000  # wallets that never run dry, stock that never runs out: every order is paid
LINES = 2
STAGES = (flows.RESERVE_STOCK, flows.REDEEM_COUPONS, flows.TAKE_PAYMENTS, flows.RELEASE)
START_SECONDS, SETTLE_SECONDS = 30, 600
LOOK_SECONDS = 0.02
WARM_UP_SECONDS = 2.0  # of a trickle: connections, statement caches, imports
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """Who settles what: orders of random products, or each with the one hot product among its lines."""

    orders: int
    products: int
    is_hot: bool
    batch_size: int
    processes: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Measured rounds of one load, each from the first wake-up to the last order settled."""

    load: Load
    seconds: list[float]

    @property
    def rates(self) -> list[float]:
        """Return the orders settled per second, round by round."""
        return [self.load.orders / seconds for seconds in self.seconds]

    @property
    def orders_per_second(self) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Trickled:
    """What one worker needed for orders that came one by one: its CPU seconds, the tasks it ran, the orders' waits."""

    orders: int
    seconds: float
    cpu_seconds: float
    tasks: int
    settled_ms: list[float]

    def settled_within_ms(self, share: float) -> float:
        """Return the time from acceptance to settlement that this share of the orders kept to."""
        return sorted(self.settled_ms)[round(share * (len(self.settled_ms) - 1))]


# --- a place of one's own -------------------------------------------------------------------------------------------


@contextmanager
def scratch_database() -> Iterator[None]:
    """Work on an empty, migrated database beside the shop's, which is left alone; drop it afterwards."""
    name = f"bench_{os.getpid()}"
    connection.settings_dict["TEST"]["NAME"] = name
    shop_name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(shop_name, verbosity=0)


@contextmanager
def copy_of_database(suffix: str) -> Iterator[str]:
    """Keep a copy of the present database until the block ends; yield its name, which `inside` takes."""
    name = connection.settings_dict["NAME"]
    copy = f"{name}_{suffix}"
    connection.close()  # a template must have no visitors
    _without_database(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
    try:
        yield copy
    finally:
        _without_database(f'DROP DATABASE "{copy}" WITH (FORCE)')


@contextmanager
def inside(database: str) -> Iterator[None]:
    """Work on another database of this server until the block ends."""
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = database
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name


def _without_database(statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def scratch_redis() -> Iterator[None]:
    """Send wake-ups to a Redis database that the running shop does not listen to."""
    shop_url = settings.BROKER_URL
    _use_broker(settings.SCRATCH_REDIS_URL)
    try:
        _forget_wakeups()
        yield
    finally:
        _use_broker(shop_url)


def _forget_wakeups() -> None:
    """
    Take back the wake-ups of the acceptance: their messages, which would start a worker before the clock does, and
    their flags, which last two seconds and would swallow the wake-up that starts it (Note [The flag of a stage]).
    """
    current_app.control.purge()
    connections.flags().delete(*(f"wake:{name}" for name in STAGES))


def _use_broker(url: str) -> None:
    settings.BROKER_URL = url
    current_app.conf.update(broker_url=url, broker_write_url=url)
    connections.flags.cache_clear()


@contextmanager
def one_worker(*, batch_size: int, processes: int) -> Iterator[int]:
    """Run one real Celery worker on the scratch database until the block ends; yield its pid once it works."""
    name = connection.settings_dict["NAME"]
    environment = os.environ | {
        "DATABASE_URL": urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}")),
        "REDIS_URL": settings.SCRATCH_REDIS_URL,
        "SHOP_SECRET_KEY": settings.SECRET_KEY,
        "SHOP_JWT_KEY": settings.JWT_KEY,
        "SHOP_PART": "worker",
        "SHOP_BATCH_SIZE": str(batch_size),
        "SHOP_METRICS_DIR": "",
        "SHOP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    options = [f"--concurrency={processes}", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "--app=config", "--quiet", "--skip-checks", "worker", *options]
    connections.flags().delete(health.HEARTBEAT_KEY)  # the last round's worker left one
    worker = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(lambda: bool(connections.flags().exists(health.HEARTBEAT_KEY)), START_SECONDS)
        yield worker.pid
    finally:
        worker.terminate()
        worker.wait(timeout=15)


def _wait(is_reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {seconds} s")
        time.sleep(LOOK_SECONDS)


# --- customers ------------------------------------------------------------------------------------------------------


def fill(products: int) -> None:
    """Add users and products that no backlog exhausts."""
    wish = seeding.Wish(counts={"users": USERS, "products": products}, options={"balance": RICH, "stock": RICH})
    seeding.seed(wish=wish, now=timezone.now(), progress=lambda *_: None)


class Customers:
    """Everybody there is, and their orders through the flow that serves `POST /orders`."""

    def __init__(self, *, is_hot: bool) -> None:
        self._choose = random.Random(1)  # noqa: S311 - the same orders every time
        self._user_ids = [row[0] for row in db.rows("SELECT id FROM shop_user ORDER BY id")]
        product_ids = [row[0] for row in db.rows("SELECT id FROM catalog_product ORDER BY id")]
        self._always, self._sometimes = (product_ids[:1], product_ids[1:]) if is_hot else ([], product_ids)

    def order(self) -> None:
        """Place one order of a random user."""
        count = min(LINES - len(self._always), len(self._sometimes))
        chosen = [*self._always, *self._choose.sample(self._sometimes, k=count)]
        lines = [LineRequest(product_id, self._choose.randint(1, 3)) for product_id in chosen]
        wanted = flows.OrderRequest(user_id=self._choose.choice(self._user_ids), lines=lines, issuance_id=None)
        flows.place_order(request=wanted, key=None, now=timezone.now())

    def order_at(self, rate: float, *, seconds: float) -> None:
        """Place orders evenly; who is late orders at once, so the number is right also on a busy machine."""
        began = time.perf_counter()
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            self.order()


# --- a backlog ------------------------------------------------------------------------------------------------------


def settle(loads: Sequence[Load], *, rounds: int, report: Report) -> list[Settled]:
    """
    Accept a backlog for each load and let one worker settle a copy of it, once per round; the loads take turns.

    Shapes: loads differ in what is ordered, not in the number of products; as many results, in the same order.
    Raises: TimeoutError, RuntimeError.
    """
    seconds: list[list[float]] = [[] for _ in loads]
    with scratch_redis(), scratch_database(), ExitStack() as kept:
        fill(loads[0].products)
        backlogs = [kept.enter_context(_backlog(number, load, report)) for number, load in enumerate(loads)]
        for number in range(rounds):
            for place in turns(len(loads), number):
                with inside(backlogs[place]):
                    seconds[place].append(_settle_once(loads[place]))
    return [Settled(load, taken) for load, taken in zip(loads, seconds, strict=True)]


def turns(count: int, number: int) -> list[int]:
    """Return who comes when in a round: there and back, for a machine that slows down steadily favours the first."""
    return list(range(count)) if number % 2 == 0 else list(reversed(range(count)))


@contextmanager
def _backlog(number: int, load: Load, report: Report) -> Iterator[str]:
    """Accept the orders of a load in a database of its own; yield its name."""
    with copy_of_database(f"backlog_{number}") as name:
        with inside(name):
            customers = Customers(is_hot=load.is_hot)
            began = time.perf_counter()
            for _ in range(load.orders):
                customers.order()
            report(f"accepted {load.orders:,} orders in {time.perf_counter() - began:.1f} s")
            db.rows("VACUUM ANALYZE")
        yield name


def _settle_once(load: Load) -> float:
    """Settle a copy of the present database's backlog: it is accepted once and settled once per round."""
    with copy_of_database("round") as name, inside(name):
        _forget_wakeups()
        with one_worker(batch_size=load.batch_size, processes=load.processes):
            _warm_up()
            _check_none_begun(load.orders)
            began = time.perf_counter()
            wakeups.publish(flows.RESERVE_STOCK)
            _wait(_is_settled, SETTLE_SECONDS)
            seconds = time.perf_counter() - began
        _check_all_paid()
    return seconds


def _warm_up() -> None:
    """Let the worker connect and load what it needs: one that runs has done so long ago."""
    wakeups.publish(flows.RELEASE)
    _wait(lambda: not wakeups.is_flag_set(flows.RELEASE), START_SECONDS)


def _is_settled() -> bool:
    return not queries.is_any_unsettled()


def _check_none_begun(orders: int) -> None:
    waiting = Order.objects.filter(status="pending").count()
    if waiting != orders:
        raise RuntimeError(f"{orders - waiting} orders moved before the clock started: the rate would be too high")


def _check_all_paid() -> None:
    unpaid = Order.objects.exclude(status="paid").count()
    if unpaid:
        raise RuntimeError(f"{unpaid} orders were not paid: the figure would be worth nothing")


# --- a trickle ------------------------------------------------------------------------------------------------------


def trickle(rate: float, *, seconds: float, load: Load) -> Trickled:
    """Let orders come at an even rate and measure what one worker needs for them. Raises TimeoutError, RuntimeError."""
    with scratch_redis(), scratch_database():
        fill(load.products)
        customers = Customers(is_hot=load.is_hot)
        with one_worker(batch_size=load.batch_size, processes=load.processes) as pid:
            customers.order_at(rate, seconds=WARM_UP_SECONDS)
            _wait(_is_settled, SETTLE_SECONDS)
            first_id = (Order.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
            began, cpu, tasks = time.perf_counter(), _cpu_seconds(pid), _count_tasks()
            customers.order_at(rate, seconds=seconds)
            _wait(_is_settled, SETTLE_SECONDS)
            cpu, elapsed, tasks = _cpu_seconds(pid) - cpu, time.perf_counter() - began, _count_tasks() - tasks
        _check_all_paid()
        waits = db.rows(
            "SELECT extract(epoch FROM settled_at - created_at)::float8 * 1000 FROM orders_order WHERE id >= %s",
            [first_id],
        )
    return Trickled(len(waits), elapsed, cpu, tasks, [wait for (wait,) in waits])


def _cpu_seconds(pid: int) -> float:
    """Return what a process and its children have used so far."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *children)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS_PER_SECOND  # utime, stime


def _count_tasks() -> int:
    """Return how many tasks the worker has run so far, by its own count."""
    answers = current_app.control.inspect(timeout=5.0, limit=1).stats() or {}
    return sum(sum(answer["total"].values()) for answer in answers.values())
