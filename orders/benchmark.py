"""How fast one worker settles a backlog: a scratch database, accepted orders, one real Celery worker, a clock."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import redis
from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone

from orders import flows, queries
from orders.models import Order
from orders.pricing import LineRequest
from shop import db, health, seeding

USERS, RICH = 2_000, 1_000_000_000  # wallets that never run dry, stock that never runs out: every order is paid
LINES = 2
STAGES = (flows.RESERVE_STOCK, flows.REDEEM_COUPONS, flows.TAKE_PAYMENTS, flows.RELEASE)
START_SECONDS, SETTLE_SECONDS = 30, 600
LOOK_SECONDS = 0.02

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """One measured run; `orders_per_second` counts from the first wake-up to the last order settled."""

    batch_size: int
    orders: int
    seconds: float

    @property
    def orders_per_second(self) -> float:
        """Return the settle rate of one worker."""
        return self.orders / self.seconds


@contextmanager
def scratch_database() -> Iterator[str]:
    """Yield the URL of an empty, migrated database beside the shop's, which is left alone; drop it afterwards."""
    name = f"bench_{os.getpid()}"
    connection.settings_dict["TEST"]["NAME"] = name
    shop_name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))
    finally:
        connection.creation.destroy_test_db(shop_name, verbosity=0)


@contextmanager
def one_worker(database_url: str, *, batch_size: int) -> Iterator[None]:
    """Run one real Celery worker with one process on the scratch database until the block ends."""
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "REDIS_URL": settings.SCRATCH_REDIS_URL,
        "SHOP_SECRET_KEY": settings.SECRET_KEY,
        "SHOP_JWT_KEY": settings.JWT_KEY,
        "SHOP_PART": "worker",
        "SHOP_BATCH_SIZE": str(batch_size),
        "SHOP_METRICS_DIR": "",
        "SHOP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    options = ["--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "--app=config", "--quiet", "--skip-checks", "worker", *options]
    worker = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(timeout=15)


def fill(*, products: int) -> None:
    """Seed users and products that no backlog exhausts."""
    wish = seeding.Wish(counts={"users": USERS, "products": products}, options={"balance": RICH, "stock": RICH})
    seeding.seed(wish=wish, now=timezone.now(), progress=lambda *_: None)


def accept(count: int, *, products: int) -> None:
    """Accept `count` two-line orders of random users through the flow that serves `POST /orders`."""
    choose = random.Random(1)  # noqa: S311 - the same backlog every time
    user_ids = [row[0] for row in db.rows("SELECT id FROM shop_user ORDER BY id")]
    product_ids = [row[0] for row in db.rows("SELECT id FROM catalog_product ORDER BY id")]
    for _ in range(count):
        chosen = choose.sample(product_ids, k=min(LINES, products))
        lines = [LineRequest(product_id, choose.randint(1, 3)) for product_id in chosen]
        wanted = flows.OrderRequest(user_id=choose.choice(user_ids), lines=lines, issuance_id=None)
        flows.place_order(request=wanted, key=None, now=timezone.now())


def settle(count: int, *, products: int, batch_size: int, report: Report) -> Settled:
    """Accept a backlog, let one worker settle it and return how long that took. Raises TimeoutError."""
    with scratch_database() as database_url:
        fill(products=products)
        began = time.perf_counter()
        accept(count, products=products)
        report(f"accepted {count:,} orders in {time.perf_counter() - began:.1f} s, settling in batches of {batch_size}")
        db.rows("VACUUM ANALYZE")
        with one_worker(database_url, batch_size=batch_size):
            seconds = _time_settling()
        unpaid = Order.objects.exclude(status="paid").count()
    if unpaid:
        raise RuntimeError(f"{unpaid} of {count} orders were not paid: the figure would be worth nothing")
    return Settled(batch_size, count, seconds)


def _time_settling() -> float:
    """Wake the worker once it runs, and time until no order is left."""
    url = settings.SCRATCH_REDIS_URL
    with redis.Redis.from_url(url) as flags, current_app.connection_for_write(url) as broker:
        flags.delete(health.HEARTBEAT_KEY, *(f"wake:{name}" for name in STAGES))
        _wait(lambda: bool(flags.exists(health.HEARTBEAT_KEY)), START_SECONDS)
        began = time.perf_counter()
        current_app.send_task(flows.RESERVE_STOCK, connection=broker, ignore_result=True)
        _wait(lambda: not queries.is_any_unsettled(), SETTLE_SECONDS)
    return time.perf_counter() - began


def _wait(is_reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {seconds} s")
        time.sleep(LOOK_SECONDS)
