"""How fast a running shop's own workers settle a backlog: they are held while orders are accepted, then let go."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from loadtests import ledgers, outcomes, procfs, scenarios
from loadtests.bench.shops import NotMeasured
from loadtests.generator import K6
from loadtests.runner import Shop
from loadtests.sampling import UNSETTLED
from loadtests.supplies import supplies
from shop import db, invariants

RATE = 600  # orders a second; the workers may be held for less than the 30 s after which `up` restarts deaf ones
LONGEST_HOLD_SECONDS = 20
SETTLE_SECONDS = 120.0
LOOK_SECONDS = 0.01
ANY_UNSETTLED = "SELECT 1 FROM orders_order WHERE status = ANY(%(unsettled)s) LIMIT 1"


@dataclass(frozen=True, slots=True)
class Backlog:
    orders: int
    seconds: float

    @property
    def orders_per_second(self) -> float:
        return self.orders / self.seconds


@contextmanager
def held_workers(data_dir: Path) -> Iterator[None]:
    """Stop the workers' clocks (SIGSTOP) until the block ends."""
    pids = procfs.find_parts(data_dir).get("worker", [])
    if not pids:
        raise NotMeasured("this shop has no worker to hold")
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def settle(orders: int, *, shop: Shop, directory: Path, now: datetime) -> Backlog:
    """Accept so many orders while no worker runs, then time the workers. Raises NotMeasured, NoGenerator."""
    seconds = min(LONGEST_HOLD_SECONDS, max(2, orders // RATE))
    numbers = {"rate": orders / seconds, "vus": 300.0, "duration_s": seconds, "whole_shop": 1.0, "coupon_orders": 0.0}
    mix = {f"mix.{name}": float(name == "order") for name in scenarios.endpoints()}
    plan = scenarios.plan_for("smoke", numbers | mix | {"users": 5_000.0})
    invariants.wait_until_drained(SETTLE_SECONDS)
    with supplies(plan, now=now) as stock:
        with held_workers(shop.data_dir):
            before = ledgers.read(stock, metrics_url="")
            k6 = K6(plan, base_url=shop.base_url, environment=stock.environment, directory=directory)
            try:
                _wait_for(k6, plan.seconds + 15)
            finally:
                k6.stop()
            accepted = ledgers.difference(before, ledgers.read(stock, metrics_url="")).rows["orders"]
        spent = _time_settling()
    metrics, _seconds = k6.metrics()
    if not accepted or outcomes.count_of(metrics, "unexpected"):
        raise NotMeasured(f"{accepted} orders accepted, {outcomes.count_of(metrics, 'unexpected')} unexpected answers")
    return Backlog(accepted, spent)


def _time_settling() -> float:
    began = time.perf_counter()
    while db.rows(ANY_UNSETTLED, {"unsettled": UNSETTLED}):
        if time.perf_counter() - began > SETTLE_SECONDS:
            raise NotMeasured(f"the backlog was not settled within {SETTLE_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter() - began


def _wait_for(k6: K6, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not k6.has_ended and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
