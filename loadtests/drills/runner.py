"""
One drill from the first customer to the verdict.

The order matters: customers shop before, through and after the fault; then everything accepted is given time to
settle, and only then are the audit and the customers' history compared with PostgreSQL.
"""

import json
import random
import time
from dataclasses import replace

import psycopg
import redis

from loadtests.drills import checks, facts, judge, times, traffic
from loadtests.drills.background import Background
from loadtests.drills.clock import Clock
from loadtests.drills.customers import Customers
from loadtests.drills.errors import NotPossible
from loadtests.drills.house import House
from loadtests.drills.incident import Incident, Pace
from loadtests.drills.proxy import Proxy
from loadtests.drills.registry import Drill, Scene
from loadtests.drills.times import Times
from loadtests.drills.watch import UNSETTLED, Watch, new_lines
from loadtests.drills.wire import Wire
from loadtests.results import Finding
from shop.local import ports

ANSWER_SECONDS = 7.0  # a customer's own patience with one request; the shop promises 5
LEAVE_SECONDS = 60.0  # until the last customer has an answer or has given up
POLL_SECONDS = 0.1
VIOLATIONS_SHOWN = 20


def run(drill: Drill, *, house: House, seed: int, pace: Pace, background: Background) -> Incident:
    """Run one drill on an open house. Raises NotPossible."""
    running = _Running(drill, house, seed, pace, background)
    try:
        running.play()
    finally:
        running.end()
    return running.judged()


class _Running:
    """One drill under way."""

    def __init__(self, drill: Drill, house: House, seed: int, pace: Pace, background: Background) -> None:
        self.drill, self.house, self.seed, self.pace, self.background = drill, house, seed, pace, background
        with house.connect() as connection:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM balance_transfer").fetchone()
        self.after_transfer = int(last[0]) if last else 0
        self.proxy = self._web_proxy()
        cast, clock = house.next_cast(), Clock()
        self.wire = Wire(
            f"http://127.0.0.1:{self.proxy.port}" if self.proxy else house.base_url, timeout_seconds=ANSWER_SECONDS
        )
        self.scene = Scene(
            house=house,
            cast=cast,
            customers=Customers(self.wire, cast, clock, patience_s=pace.patience_s),
            clock=clock,
            dice=random.Random(f"{drill.name}/{seed}/fault"),  # noqa: S311 - repeatable on purpose
            background=background,
            web_proxy=self.proxy,
        )
        self.watch = Watch(house, clock)
        self.log_positions = {log: log.stat().st_size for log in house.logs}
        self.times: Times | None = None
        self.error = ""

    def _web_proxy(self) -> Proxy | None:
        if not self.drill.through_proxy:
            return None
        proxy = Proxy(port=ports.free_port(), target=int(self.house.base_url.rpartition(":")[2]))
        self.background.run(proxy.open())
        return proxy

    def play(self) -> None:
        """Let them shop, break, heal, and wait until all is settled."""
        scene, drill, pace = self.scene, self.drill, self.pace
        healed_at = pace.before_s + drill.hold
        seconds = healed_at + drill.pause + pace.after_s
        ops = traffic.plan(drill.name, seed=self.seed, cast=scene.cast, rate=pace.rate, seconds=seconds)
        if drill.pause:
            ops = traffic.without_writes(ops, start=healed_at - 0.5, end=healed_at + drill.pause)
        self.watch.start()
        shopping = self.background.start(scene.customers.shop(ops))
        injected, healed = self._break_and_heal()
        for crowd in (shopping, *scene.crowds):
            crowd.result(LEAVE_SECONDS)
        load_ended = scene.clock.now()
        drained = self._drained()
        sight, entries = self.watch.sight, scene.customers.entries
        self.times = Times(
            injected=injected,
            healed=healed,
            noticed=times.noticed(sight, injected),
            degraded=times.degraded(entries, sight, injected),
            recovered=times.recovered(entries, sight, healed),
            load_ended=load_ended,
            drained=drained,
        )

    def _break_and_heal(self) -> tuple[float, float]:
        """Walk the fault's generator; return when it was injected and when it was healed."""
        scene, drill = self.scene, self.drill
        scene.clock.wait_until(self.pace.before_s)
        injected = scene.clock.now()
        scene.note("injected")
        fault = drill.fault(scene)
        try:
            next(fault)
            scene.clock.wait_until(injected + drill.hold)
            next(fault, None)
        except NotPossible:
            raise
        except Exception as error:  # noqa: BLE001 - a fault that cannot be injected fails its drill, not the command
            self.error = f"{type(error).__name__}: {error}"
        finally:
            fault.close()
        if not drill.hold:
            return injected, injected
        scene.note("healed")
        return injected, scene.clock.now()

    def _drained(self) -> float | None:
        """Wait until nothing accepted is under way; return when that was, None if it did not happen in time."""
        deadline = time.monotonic() + self.pace.settle_s
        gate = self.house.redis(1)
        while time.monotonic() < deadline:
            try:
                with self.house.connect() as connection:
                    (waiting,) = connection.execute(UNSETTLED).fetchall()
                if waiting[0] == 0 and gate.xlen("gate:claims") == 0:
                    return self.scene.clock.now()
            except (psycopg.Error, redis.RedisError):
                pass  # still away: it has until the deadline
            time.sleep(POLL_SECONDS)
        return None

    def end(self) -> None:
        """Leave nothing behind that would disturb the next drill."""
        self.watch.stop()
        self.wire.close()
        if self.proxy:
            self.background.run(self.proxy.close())

    # --- afterwards -------------------------------------------------------------------------------------------------

    def judged(self) -> Incident:
        """Compare, audit, and return everything about the drill."""
        scene = self.scene
        if self.times is None:
            raise RuntimeError("the drill has not been played")
        entries = sorted(scene.customers.entries, key=lambda entry: entry.start)
        incident = Incident(
            drill=self.drill,
            seed=self.seed,
            began_at=f"{scene.clock.began_at:%Y-%m-%dT%H:%M:%SZ}",
            pace=self.pace,
            entries=tuple(entries),
            sight=self.watch.sight,
            events=tuple(scene.events),
            proofs=tuple(scene.proofs),
            times=self.times,
            findings=tuple(self._findings()),
            audit=self._audit(),
            logs={log.name: new_lines(log, position)[0] for log, position in self.log_positions.items()},
            sent_again=self.wire.sent_again,
            fault_error=self.error,
        )
        return replace(incident, checks=tuple(checks.check(incident)), seconds=round(scene.clock.now(), 1))

    def _findings(self) -> list[Finding]:
        scene = self.scene
        with self.house.connect() as connection:
            found = facts.read(
                connection,
                users=scene.cast.users,
                campaigns=scene.cast.campaigns,
                after_transfer=self.after_transfer,
                began_at=scene.clock.began_at,
            )
        return judge.judge(scene.customers.entries, found, self.drill.expect.allowed)

    def _audit(self) -> tuple[str, ...]:
        """Return the audit's violations, or why there was none."""
        done = self.house.manage("audit", "--json", "--wait", "2")
        try:
            found = json.loads(done.stdout)
        except ValueError:
            return (f"the audit did not run: {done.stderr.strip()[-300:]}",)
        return tuple(f"{it['invariant']} {it['claim']}: {it['row']}" for it in found["violations"][:VIOLATIONS_SHOWN])
