"""
One reading a second of everything that may run short, while the load runs and until all is settled.

k6 says what customers see, /proc what the parts use, PostgreSQL and Redis what waits. A reading that fails leaves its
series empty for that second; the load goes on.
"""

import os
import threading
import time
from pathlib import Path

import redis
from django.db import DatabaseError, connection

from config.celery import QUEUES
from coupons import gate
from loadtests import procfs
from loadtests.generator import K6, Reading
from loadtests.outcomes import percentile
from loadtests.results import Sample
from shop import connections, db
from shop.errors import DependencyUnavailable

PERIOD_SECONDS = 1.0
FIND_EVERY = 5  # readings: processes come and go (a restarted worker, a new backend)

WAITING = """
    SELECT
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active'),
        (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'),
        (SELECT count(*) FROM orders_order WHERE status = ANY(%(unsettled)s)),
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
         FROM orders_order WHERE status = ANY(%(unsettled)s))
"""
UNSETTLED = ["pending", "stock_reserved", "coupon_applied"]


class Sampler:
    """Reads in a thread of its own between `start` and `stop`; `samples` may be looked at meanwhile."""

    def __init__(self, k6: K6, *, data_dir: Path, web_dir: Path | None = None) -> None:
        self.k6, self.data_dir, self.web_dir = k6, data_dir, web_dir
        self.samples: list[Sample] = []
        self._parts: dict[str, list[int]] = {}
        self._used: dict[str, procfs.Use] = {}
        self._busy, self._seen = 0.0, Reading(counts={}, classes=[])
        self._at = self._seen_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    @property
    def process_counts(self) -> dict[str, int]:
        return {part: len(pids) for part, pids in self._parts.items()}

    @property
    def pids(self) -> list[int]:
        return [pid for pids in self._parts.values() for pid in pids]

    def start(self) -> None:
        self._began = self._at = self._seen_at = time.monotonic()
        self._busy = procfs.busy_seconds()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            due = self._began + PERIOD_SECONDS
            while not self._stopped.wait(max(0.0, due - time.monotonic())):
                self._read_once()
                # What a slow reading missed is not made up at once: rates over 0.03 s say nothing.
                due = max(due + PERIOD_SECONDS, time.monotonic() + PERIOD_SECONDS / 2)
        finally:
            connection.close()

    def _read_once(self) -> None:
        # The clock is read after k6: in a rush its interface takes seconds to answer, which had made 15.8 CPUs of two.
        reading = None if self.k6.has_ended else self.k6.read()
        now = time.monotonic()
        elapsed, self._at = now - self._at, now
        values, classes = self._customers(reading, now) if reading else ({}, [])
        for read in (self._machine, self._waiting, self._queues):
            try:
                values |= read(elapsed)
            except (DatabaseError, redis.RedisError, DependencyUnavailable, OSError):
                continue
        rounded = {name: round(value, 3) for name, value in values.items()}
        self.samples.append(Sample(at=round(now - self._began, 2), values=rounded, classes=classes))

    def _customers(self, reading: Reading, now: float) -> tuple[dict[str, float], list[int]]:
        """Return rates and percentiles of the answers since the last reading, which k6 may have left out once."""
        before, self._seen = self._seen, reading
        elapsed, self._seen_at = now - self._seen_at, now
        classes = [now - was for now, was in zip(reading.classes, before.classes or [0] * 99, strict=False)]
        change = {name: count - before.counts.get(name, 0) for name, count in reading.counts.items()}
        values = {"tps": sum(classes) / elapsed, "vus": reading.counts["vus"]}
        if "shed" in change:
            values |= {"shed": change["shed"] / elapsed, "let_in": values["tps"] - change["shed"] / elapsed}
        values |= {"dropped": change["dropped_iterations"], "unexpected": change["unexpected"]}
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            if (ms := percentile(classes, share)) is not None:
                values[name] = ms
        return values, classes

    def _machine(self, elapsed: float) -> dict[str, float]:
        """Return CPUs busy and memory, by part; `others` is what neither the shop nor this suite used."""
        if len(self.samples) % FIND_EVERY == 0:
            self._parts = procfs.find_parts(self.data_dir, web_dir=self.web_dir) | {"runner": [os.getpid()]}
        own = {} if self.k6.has_ended else {"k6": [self.k6.child.pid]}
        values: dict[str, float] = {}
        for part, pids in {**self._parts, **own}.items():
            values |= self._part(part, procfs.use_of(pids), elapsed)
        busy, self._busy = self._busy, procfs.busy_seconds()
        cpus = {name.removeprefix("cpu_"): used for name, used in values.items() if name.startswith("cpu_")}
        machine = (self._busy - busy) / elapsed
        return values | {
            "cpu_shop": sum(used for part, used in cpus.items() if part not in ("k6", "runner")),
            "cpu_machine": machine,
            "cpu_others": max(0.0, machine - sum(cpus.values())),
        }

    def _part(self, part: str, now: procfs.Use, elapsed: float) -> dict[str, float]:
        if not now.cpu:
            return {}
        before, self._used[part] = self._used.get(part), now
        values = {f"memory_{part}": now.memory_mb}
        if before is not None:
            values[f"cpu_{part}"] = procfs.cpu_between(before, now) / elapsed
            wait_ms = procfs.wait_ms_between(before, now)
            if part == "k6" and wait_ms is not None:
                values["wait_k6"] = wait_ms
        return values

    def _waiting(self, _elapsed: float) -> dict[str, float]:
        names = ("connections", "active", "lock_waits", "orders_waiting", "oldest_order")
        row = db.rows(WAITING, {"unsettled": UNSETTLED})[0]
        return {name: float(value) for name, value in zip(names, row, strict=True)}

    def _queues(self, _elapsed: float) -> dict[str, float]:
        messages = sum(int(connections.flags().llen(queue)) for queue in QUEUES)
        return {"claims_waiting": float(gate.backlog()), "messages": float(messages)}
