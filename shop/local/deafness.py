"""Notices workers that live but do not work: a broker connection lost half-open, a frozen process (FAULTS.md F18)."""

import time
from datetime import UTC, datetime

import redis

from shop import connections, health
from shop.local import logs
from shop.local.supervisor import Part

LOOK_SECONDS = 5.0


def forget_last_run() -> None:
    """Remove the heartbeat of an earlier run, which would vouch for workers that have not started yet."""
    connections.flags().delete(health.HEARTBEAT_KEY)


class Watch:
    """
    Kills worker and beat when Redis answers but has seen no heartbeat for too long; the supervisor starts them again.

    Both, because the heartbeat is a task that beat sends and a worker runs: silence does not tell which is deaf.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.parts = [part for part in parts if part.name in ("worker", "beat")]
        self.vouched_at = self.looked_at = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        if self._is_fresh():
            self.vouched_at = now
        elif now - self.vouched_at > health.HEARTBEAT_LIMIT_SECONDS:
            logs.write("up", f"no worker has run a task for {now - self.vouched_at:.0f} s: worker and beat start again")
            self.vouched_at = now
            for part in self.parts:
                part.kill()

    def _is_fresh(self) -> bool:
        """Tell whether a heartbeat came since the last look, or could not have come: Redis itself was away."""
        try:
            seen_at = health.last_heartbeat()
        except redis.RedisError:
            return True
        return seen_at is not None and (datetime.now(UTC) - seen_at).total_seconds() < 2 * LOOK_SECONDS
