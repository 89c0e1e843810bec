"""A limit lets exactly as many pass as it has tokens, however many ask at once."""

import threading

import pytest
from django.db import OperationalError

from shop import connections, throttle
from shop.errors import InvalidCredentials, TooManyRequests

LIMIT = throttle.Limit("test", burst=10, seconds_per_token=6)


@pytest.fixture(autouse=True)
def empty_bucket() -> None:
    connections.flags().delete("limit:test:somebody")


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


def test_without_redis_nobody_is_locked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __call__(self, **_: object) -> int:
            raise throttle.DependencyUnavailable

    monkeypatch.setattr(throttle, "_script", Away)
    assert {attempt(fails=False) for _ in range(3)} == {"ok"}
