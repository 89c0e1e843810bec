"""
A multi-lock as Redisson makes it: one Redis key per thing, taken one after the other, one budget of time for all.

After `RedissonMultiLock.tryLock(waitTime, leaseTime)`: the keys are taken in the order given, each waited for with what
is left of the wait time while the earlier ones stay held; meanwhile they live twice the wait time, at the end all get
the lease. As there, a release wakes waiters and holds nothing for them: whoever asks first has the key. Kinder than
Redisson, a release wakes one waiter, the one that has waited longest, and not one per process.
"""

import secrets
import time

import redis

from loadtests.lab.answers import PATIENCE_SECONDS

WAIT_SECONDS, LEASE_SECONDS = PATIENCE_SECONDS, 3.0
LOOK_SECONDS = 1.0  # a waiter looks this often even if nobody wakes it: the holder may be dead
WAKE_LIVES_MS = 10_000

RELEASE = """
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    redis.call('DEL', KEYS[1])
    if redis.call('LLEN', KEYS[2]) == 0 then
        redis.call('RPUSH', KEYS[2], 1)
        redis.call('PEXPIRE', KEYS[2], ARGV[2])
    end
    return 1
"""


class NotLocked(Exception):
    """The wait time ran out before every key was ours; none is held any more."""


class MultiLock:
    """Several keys held as one; not for use by two threads."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._token = secrets.token_hex(8)
        self._give_back = client.register_script(RELEASE)
        self.waited_seconds = 0.0

    def acquire(self, keys: list[str]) -> None:
        """Take the keys in the order given. Raises NotLocked."""
        deadline = time.monotonic() + WAIT_SECONDS
        for place, key in enumerate(keys):
            if not self._take(key, deadline):
                self.release(keys[:place])
                raise NotLocked(key)
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pexpire(self._key(key), int(LEASE_SECONDS * 1_000))
            pipe.execute()

    def release(self, keys: list[str]) -> int:
        """Give the keys back, wake a waiter of each, and return how many had run out: their work was not protected."""
        if not keys:
            return 0
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                self._give_back(keys=[self._key(key), self._wake(key)], args=[self._token, WAKE_LIVES_MS], client=pipe)
            given_back = pipe.execute()
        return given_back.count(0)

    def _take(self, key: str, deadline: float) -> bool:
        life_ms = int(WAIT_SECONDS * 2_000)
        while not self._client.set(self._key(key), self._token, nx=True, px=life_ms):
            began = time.monotonic()
            if began >= deadline:
                return False
            self._client.blpop([self._wake(key)], timeout=max(0.01, min(deadline - began, LOOK_SECONDS)))
            self.waited_seconds += time.monotonic() - began
        return True

    def _key(self, key: str) -> str:
        return f"{self._prefix}:lock:{key}"

    def _wake(self, key: str) -> str:
        return f"{self._prefix}:wake:{key}"
