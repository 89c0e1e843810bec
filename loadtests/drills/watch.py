"""
Looks at the shop from outside while a drill runs: readiness, metrics, the supervisor's log, and what waits.

Readiness and metrics are what an operator's monitoring sees; what waits is asked of PostgreSQL and Redis past the
proxies. Each look has a thread of its own, so that a server that hangs stops one of them and not the others.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis

from loadtests.client import Client, NoAnswer
from loadtests.drills.clock import Clock
from loadtests.drills.house import House

EACH_SECONDS = 0.2
LATE_ORDER_SECONDS = 3.0  # older than this, an order of a quiet shop waits for something
OLD_HEARTBEAT_SECONDS = 12.0  # beat sends one each 5 s
TOLD = re.compile(
    r"ended \(|start again|was sent SIG|exited unexpectedly|exited with|WorkerLost|Worker exiting|Booting worker"
    r"|Handling signal|connection to broker|Connection to broker|died in batch|process_died|terminated by|recovery"
    r"|ready to accept"
)
GAUGE = re.compile(r"^(shop_gauge_up|shop_oldest_unsettled_seconds|shop_worker_heartbeat_age_seconds)(\{.*?\})? (\S+)$")
FAULTS = re.compile(r'^shop_request_seconds_count\{.*status="5\d\d".*\} (\S+)$')

UNSETTLED = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM orders_order
    WHERE status IN ('pending', 'stock_reserved', 'coupon_applied')
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One look through one `window` (`readiness` or `metrics`): what it showed that is not well, if anything."""

    at: float
    window: str
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was under way: orders, the oldest one's age in seconds, and claims PostgreSQL does not know yet."""

    at: float
    orders: int
    oldest: float
    claims: int


@dataclass(slots=True)
class Sight:
    """Everything seen; `told` are lines of the supervisor's log."""

    looks: list[Look] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)


class Watch:
    def __init__(self, house: House, clock: Clock) -> None:
        self.house, self.clock = house, clock
        self.sight = Sight()
        self._stopped = threading.Event()
        self._metrics_url = house.metrics_url
        self._faults_before: float | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._gate = house.redis(1)
        self._log_position = house.log.stat().st_size
        looks = (self._readiness, self._metrics, self._waiting, self._log)
        self._threads = [threading.Thread(target=self._repeat, args=(look,), daemon=True) for look in looks]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Sight:
        self._stopped.set()
        for thread in self._threads:
            thread.join(3.0)  # one that hangs at a frozen server is left behind
        self._gate.close()
        if self._connection is not None:
            self._connection.close()
        return self.sight

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._stopped.wait(EACH_SECONDS):
            look()

    # --- what monitoring sees ---------------------------------------------------------------------------------------

    def _readiness(self) -> None:
        client = Client(self.house.base_url, timeout_seconds=2.0)
        try:
            answer = client.get("/readyz?verbose")
            checks = (answer.body or {}).get("checks", {})
            alarms = tuple(name for name, check in checks.items() if not check["ok"])
            alarms = alarms or (() if answer.status == 200 else (str(answer.status),))
        except NoAnswer:
            alarms = ("no answer",)
        finally:
            client.close()
        self.sight.looks.append(Look(self.clock.now(), "readiness", alarms))

    def _metrics(self) -> None:
        base, _slash, path = self._metrics_url.rpartition("/")
        client = Client(base, timeout_seconds=2.0)
        try:
            alarms = self._alarms_in(client.get(f"/{path}").text)
        except NoAnswer:
            alarms = ("no answer",)
        finally:
            client.close()
        self.sight.looks.append(Look(self.clock.now(), "metrics", alarms))

    def _alarms_in(self, text: str) -> tuple[str, ...]:
        alarms, faults = [], 0.0
        for line in text.splitlines():
            if found := FAULTS.match(line):
                faults += float(found[1])
            elif found := GAUGE.match(line):
                alarms.append(_alarm(found[1], found[2] or "", float(found[3])))
        if self._faults_before is not None and faults > self._faults_before:
            alarms.append("5xx")
        self._faults_before = faults
        return tuple(sorted({alarm for alarm in alarms if alarm}))

    # --- what waits, and what the supervisor says -------------------------------------------------------------------

    def _waiting(self) -> None:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self.house.connect()
            (row,) = self._connection.execute(UNSETTLED).fetchall()
            claims = int(self._gate.xlen("gate:claims"))
        except psycopg.Error:
            self._connection = None
            return
        except redis.RedisError:
            claims = 0
        self.sight.waiting.append(Waiting(self.clock.now(), row[0], round(row[1], 2), claims))

    def _log(self) -> None:
        lines, self._log_position = new_lines(self.house.log, self._log_position)
        self.sight.told += [(self.clock.now(), line) for line in lines if TOLD.search(line)]


def _alarm(name: str, labels: str, value: float) -> str:
    if name == "shop_gauge_up":
        return "" if value else f"no reading of {labels.partition('=')[2].strip(chr(34) + '}')}"
    if name == "shop_oldest_unsettled_seconds":
        return "orders wait" if value > LATE_ORDER_SECONDS else ""
    return "heartbeat" if value > OLD_HEARTBEAT_SECONDS else ""


def new_lines(file: Path, position: int) -> tuple[list[str], int]:
    """Return the whole lines after a position, and the position behind them."""
    with file.open("rb") as log:
        log.seek(position)
        text = log.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), position + len(whole)
