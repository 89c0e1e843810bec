"""Waking: coalesced by a flag, never a burden to whoever wakes, and harmless when it is lost."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from celery import Celery

from shop import connections, wakeups
from shop.testing import dead_server, frozen_server, race, redis_at, wait_until

pytestmark = pytest.mark.usefixtures("committed_db")
NAME = "orders.reserve_stock"


@pytest.fixture
def publisher(committed_db, monkeypatch):
    """A publishing thread of this test's own; at the end it has nothing left to do, so it reaches no other test."""
    publisher = wakeups._Publisher()
    monkeypatch.setattr(wakeups, "_publisher", publisher)
    monkeypatch.setattr(wakeups, "PAUSE_AFTER_FAILURE_SECONDS", 0.01)
    yield publisher
    wakeups.wake("the.end")
    wait_until(lambda: wakeups.is_flag_set("the.end"))


def messages(queue="orders"):
    return connections.flags().llen(queue)


def shortest(call, *, below):
    """Return how long a call took in the best of three tries: a busy machine delays one, a wait that is there all."""
    seconds = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        call()
        seconds = min(seconds, time.perf_counter() - began)
        if seconds < below:
            break
    return seconds


def wake_twenty_times():
    for _ in range(20):
        wakeups.wake(NAME)


@contextmanager
def broker_at(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Publish to another broker; the flags stay where they are."""
    app = Celery("elsewhere", broker=url, set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.update(broker_url=url)
    with monkeypatch.context() as patched:
        patched.setattr(wakeups, "current_app", app)
        yield


def test_publish_sends_a_message_that_says_nothing_but_look():
    assert wakeups.publish(NAME) is True
    assert (messages(), wakeups.is_flag_set(NAME)) == (1, True)
    (message,) = connections.flags().lrange("orders", 0, -1)
    assert b'"body": "W1tdLCB7fSwg' in message  # base64 of [[], {}, ...: no arguments


def test_wakeups_of_one_stage_are_one_message_until_its_flag_is_cleared():
    for _ in range(5):
        wakeups.publish(NAME, NAME)
    assert messages() == 1
    wakeups.clear_flag(NAME)
    wakeups.publish(NAME)
    assert messages() == 2


def test_wakeups_at_once_are_one_message():
    assert race(*[lambda: wakeups.publish(NAME)] * 8) == [True] * 8
    assert messages() == 1


def test_stage_whose_drain_has_begun_is_called_at_once_by_another_stage():
    wakeups.publish(NAME)
    wakeups.clear_flag(NAME)
    assert not wakeups.is_flag_set(NAME)
    assert wakeups.publish(NAME) is True
    assert (messages(), wakeups.is_flag_set(NAME)) == (2, True)


def test_rest_ends_by_itself():
    wakeups.clear_flag(NAME)
    left_ms = connections.flags().pttl(f"wake:{NAME}")
    assert 0 < left_ms <= wakeups.REST_MS < wakeups.FLAG_MS


def test_requests_let_a_stage_rest_and_call_it_afterwards(publisher, monkeypatch):
    tried = threading.Event()
    real = wakeups._call

    def call(name, *, lets_rest):
        called = real(name, lets_rest=lets_rest)
        tried.set()
        return called

    monkeypatch.setattr(wakeups, "_call", call)
    monkeypatch.setattr(wakeups, "REST_MS", 60_000)
    wakeups.clear_flag(NAME)
    wakeups.wake(NAME)
    assert tried.wait(10)
    assert (messages(), wakeups.is_flag_set(NAME)) == (0, False)
    connections.flags().delete(f"wake:{NAME}")  # the rest is over
    wait_until(lambda: messages() == 1)
    assert wakeups.is_flag_set(NAME)


def test_flag_left_by_a_lost_message_delays_its_stage_no_longer_than_its_life():
    wakeups.publish(NAME)
    left_ms = connections.flags().pttl(f"wake:{NAME}")
    assert 0 < left_ms <= wakeups.FLAG_MS == 2_000


@pytest.mark.usefixtures("publisher")
def test_wake_publishes_soon_and_costs_its_caller_nothing():
    assert shortest(lambda: wakeups.wake(NAME), below=0.05) < 0.05
    wait_until(lambda: messages() == 1)
    assert wakeups.is_flag_set(NAME)


def test_one_thread_publishes_for_all_callers(publisher):
    race(*[lambda: wakeups.wake(NAME)] * 8)
    wait_until(lambda: wakeups.is_flag_set(NAME))
    threads = [thread for thread in threading.enumerate() if thread._target == publisher._run]
    assert len(threads) == 1
    assert threads[0].daemon


def test_forked_process_starts_a_publisher_of_its_own(publisher, monkeypatch):
    wakeups.wake(NAME)
    wait_until(lambda: messages() == 1)  # not the flag: it is set before the message is sent
    connections.flags().flushdb()
    monkeypatch.setattr("os.getpid", lambda: -1)
    wakeups.wake(NAME)
    assert publisher._pid == -1
    wait_until(lambda: messages() == 1)


# --- a broker that is away ------------------------------------------------------------------------------------------


@pytest.fixture(params=["refused", "frozen"])
def away(request):
    """The address of a Redis that refuses, or accepts and never answers."""
    if request.param == "refused":
        yield dead_server()
    else:
        with frozen_server() as url:
            yield url


@pytest.mark.usefixtures("publisher")
def test_wake_never_waits_and_never_raises_without_redis(away):
    with redis_at("flags", away):
        assert shortest(wake_twenty_times, below=0.05) < 0.05


@pytest.mark.usefixtures("publisher")
def test_wake_never_waits_and_never_raises_without_broker(away, monkeypatch):
    with broker_at(away, monkeypatch):
        assert shortest(wake_twenty_times, below=0.05) < 0.05


def test_publish_gives_up_soon_without_redis(away):
    with redis_at("flags", away):
        results: set[bool] = set()
        assert shortest(lambda: results.add(wakeups.publish(NAME)), below=0.5) < 0.5
        assert results == {False}
        wakeups.clear_flag(NAME)
        assert not wakeups.is_flag_set(NAME)


def test_publish_gives_up_soon_without_broker(away, monkeypatch):
    with broker_at(away, monkeypatch):
        results: set[bool] = set()

        def publish():
            wakeups.clear_flag(NAME)
            results.add(wakeups.publish(NAME))

        assert shortest(publish, below=0.6) < 0.6
        assert results == {False}


@pytest.mark.usefixtures("publisher")
def test_wakeup_that_failed_is_published_when_redis_is_back(monkeypatch):
    failed = threading.Event()
    real = wakeups._publish

    def publish(names, *, lets_rest):
        resting = real(names, lets_rest=lets_rest)
        if resting is None:
            failed.set()
        return resting

    monkeypatch.setattr(wakeups, "_publish", publish)
    with redis_at("flags", dead_server()):
        wakeups.wake(NAME)
        assert failed.wait(10)
    wait_until(lambda: messages() == 1)


def test_control_a_frozen_server_really_does_not_answer():
    with frozen_server() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(0.1)
            client.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)
