"""A limit lets exactly as many pass as it has tokens, however many ask at once and wherever they are counted."""

import threading
import time
from contextlib import nullcontext
from itertools import chain

import pytest
from django.db import OperationalError

from shop import connections, throttle
from shop.errors import DependencyUnavailable, InvalidCredentials, TooManyRequests
from shop.testing import dead_server, race, redis_at

LIMIT = throttle.Limit("test", burst=10, seconds_per_token=6)
SLOW = throttle.Limit("test", burst=100, seconds_per_token=600)  # nothing comes back while a test runs


@pytest.fixture(autouse=True)
def empty_buckets(monkeypatch):
    connections.flags().delete("limit:test:somebody", "limit:test:7", "limit:test:8")
    for name in ("_dealt", "_alone"):
        monkeypatch.setattr(throttle, name, throttle.Buckets())


# --- failed tries ---------------------------------------------------------------------------------------------------


def attempt(*, fails: bool) -> str:
    try:
        with throttle.failures_of(LIMIT, "somebody"):
            if fails:
                raise InvalidCredentials
    except (InvalidCredentials, TooManyRequests) as error:
        return error.code
    return "ok"


def test_of_forty_parallel_failures_exactly_ten_are_tried() -> None:
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(attempt(fails=True))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(outcomes) == ["invalid_credentials"] * 10 + ["too_many_requests"] * 30


def test_successes_never_use_up_the_limit() -> None:
    assert {attempt(fails=False) for _ in range(50)} == {"ok"}
    assert connections.flags().exists("limit:test:somebody") == 0


def test_an_attempt_that_the_database_broke_off_is_no_failure() -> None:
    for _ in range(20):
        with pytest.raises(OperationalError), throttle.failures_of(LIMIT, "somebody"):
            raise OperationalError
    assert attempt(fails=True) == "invalid_credentials"


def test_the_refusal_says_how_long_to_wait() -> None:
    for _ in range(10):
        attempt(fails=True)
    with pytest.raises(TooManyRequests) as refused, throttle.failures_of(LIMIT, "somebody"):
        pass
    assert refused.value.retry_after in (5, 6)
    assert refused.value.policy == '"test";q=10;w=60'


def test_without_redis_nobody_is_locked_out() -> None:
    with redis_at("flags", dead_server()):
        throttle._script.cache_clear()
        assert {attempt(fails=False) for _ in range(3)} == {"ok"}
    throttle._script.cache_clear()


def test_a_limit_that_is_off_limits_nobody() -> None:
    for _ in range(20):
        with pytest.raises(InvalidCredentials), throttle.failures_of(None, "somebody"):
            raise InvalidCredentials
    throttle.take(None, 7)


# --- requests per user ----------------------------------------------------------------------------------------------


def take(limit: throttle.DealtLimit, user_id: int = 7) -> str:
    try:
        throttle.take(limit, user_id)
    except TooManyRequests:
        return "refused"
    return "passed"


@pytest.mark.parametrize(("burst", "processes"), [(1, 1), (9, 1), (100, 1), (100, 2), (600, 2), (600, 7), (10, 20)])
def test_the_dealt_and_the_shared_tokens_are_the_limit(burst: int, processes: int) -> None:
    limit = throttle.Limit("test", burst=burst, seconds_per_token=0.1)
    split = throttle.deal(limit, processes=processes)
    parts = [split.shared, *([split.dealt] * processes if split.dealt else [])]
    assert sum(part.burst for part in parts) == burst
    assert sum(1 / part.seconds_per_token for part in parts) == pytest.approx(10)
    assert split.shared.burst >= 0.9 * burst


def test_of_400_requests_of_20_threads_exactly_as_many_pass_as_there_are_tokens() -> None:
    limit = throttle.deal(SLOW, processes=1)
    assert limit.dealt is not None
    outcomes = list(chain(*race(*[lambda: [take(limit) for _ in range(20)]] * 20)))
    assert (outcomes.count("passed"), outcomes.count("refused")) == (100, 300)
    assert take(limit, 8) == "passed"  # somebody else has tokens of their own


def test_of_two_processes_never_more_pass_and_fewer_only_by_what_is_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = throttle.deal(SLOW, processes=2)
    assert [take(limit) for _ in range(200)].count("passed") == 95
    monkeypatch.setattr(throttle, "_dealt", throttle.Buckets())  # the other process
    assert [take(limit) for _ in range(200)].count("passed") == 5


def test_usual_customers_cost_no_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = throttle.deal(throttle.Limit("test", burst=600, seconds_per_token=0.1), processes=2)
    asked: list[int] = []

    def spend(limit: throttle.Limit, subject: int, tokens: int) -> float:
        asked.append(subject)
        return 0.0

    monkeypatch.setattr(throttle, "_spend", spend)
    for user_id in range(2_000):
        assert take(limit, user_id) == "passed"
    assert [take(limit, 7) for _ in range(29)] == ["passed"] * 29
    assert asked == []
    take(limit, 7)
    assert asked == [7]


def test_tokens_come_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: clock[0])
    buckets, limit = throttle.Buckets(), throttle.Limit("test", burst=3, seconds_per_token=2.0)
    assert [buckets.spend(limit, 7) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(2.0)]
    clock[0] += 1.5
    assert buckets.spend(limit, 7) == pytest.approx(0.5)
    clock[0] += 0.5
    assert [buckets.spend(limit, 7) for _ in range(2)] == [0.0, pytest.approx(2.0)]
    clock[0] += 1_000
    assert [buckets.spend(limit, 7) for _ in range(4)].count(0.0) == 3


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(throttle, "KEPT_BUCKETS", 10)
    buckets = throttle.Buckets()
    for user_id in range(100):
        clock[0] += 1.0
        buckets.spend(throttle.Limit("test", burst=3, seconds_per_token=2.0), user_id)
    assert len(buckets._full_at) <= 11


def test_while_redis_is_away_each_process_counts_alone() -> None:
    limit = throttle.deal(SLOW, processes=2)
    with redis_at("flags", dead_server()):
        throttle._script.cache_clear()
        assert [take(limit) for _ in range(200)].count("passed") == 5 + 90
    throttle._script.cache_clear()


class Meeting(dict[tuple[str, str | int], float]):
    """Lets two readers see the same before either has written."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def get(self, *args):
        found = super().get(*args)
        self.barrier.wait(10)
        return found


def test_control_without_the_lock_two_take_the_last_token() -> None:
    buckets, limit = throttle.Buckets(), throttle.Limit("test", burst=1, seconds_per_token=600)
    buckets._full_at, buckets._lock = Meeting(), nullcontext()  # type: ignore[assignment]  # the guard taken away
    assert race(*[lambda: buckets.spend(limit, 7)] * 2) == [0.0, 0.0]


def test_control_get_then_set_in_redis_lets_two_take_the_last_token(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(2)

    def get_then_set(*, keys: list[str], args: list[int]) -> int:
        taken = int(connections.flags().get(keys[0]) or 0)
        barrier.wait(10)
        connections.flags().set(keys[0], taken + 1, px=1_000)
        return 0 if taken < args[1] else 1

    monkeypatch.setattr(throttle, "_script", lambda: get_then_set)
    limit = throttle.deal(throttle.Limit("test", burst=1, seconds_per_token=600), processes=1)
    assert race(*[lambda: take(limit)] * 2) == ["passed", "passed"]


def test_a_broken_redis_is_told_apart_from_an_empty_bucket() -> None:
    with redis_at("flags", dead_server()):
        throttle._script.cache_clear()
        with pytest.raises(DependencyUnavailable):
            throttle._spend(LIMIT, "somebody", 1)
    throttle._script.cache_clear()


def test_clock_that_was_ahead_locks_nobody_out_for_longer_than_a_token_takes() -> None:
    hours_ahead = (time.time() + 9 * 3_600) * 1_000_000
    connections.flags().set("limit:test:somebody", f"{hours_ahead:.0f}")
    with pytest.raises(TooManyRequests) as refused, throttle.failures_of(LIMIT, "somebody"):
        pass
    assert refused.value.retry_after == LIMIT.seconds_per_token
