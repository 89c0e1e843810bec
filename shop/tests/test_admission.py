"""Who is let in while a process has more to do than it can."""

import math
import random
import uuid

import pytest

from shop import admission, errors, representations
from shop.admission import BURST_SECONDS, WAIT_SECONDS, Door, Worth

BROWSE, CLAIM, ORDER, OWN, ENTRY, VITAL = (
    {"REQUEST_METHOD": method, "PATH_INFO": path}
    for method, path in [
        ("GET", "/products"),
        ("POST", "/coupons/issue"),
        ("POST", "/orders"),
        ("GET", "/orders/1"),
        ("POST", "/auth/token"),
        ("GET", "/livez"),
    ]
)
ALL = (BROWSE, CLAIM, ORDER, OWN, ENTRY, VITAL)


@pytest.fixture
def door():
    """A door of eight threads that need 8 ms for a request: each one that waits costs the next 1 ms."""
    door = Door(threads=8)
    for _ in range(admission.YOUNG_LOOKS + 1):
        door.look(0, 0.25)
    for _ in range(1_000):
        door.answered(0.008)
    return door


def look(door, *, waited, queued=100):
    """Let the quarter of a second pass in which the shortest wait was `waited`."""
    if waited is not None:
        door.took(waited + 0.5)
        door.took(waited)
    door.look(queued, 0.25)


def overload(door):
    for _ in range(4):
        look(door, waited=0.16)


def refused(door, *, queued):
    return [place for place, environ in enumerate(ALL) if door.refuses(environ, queued)]


@pytest.mark.parametrize(
    ("method", "path", "worth"),
    [
        ("GET", "/products", Worth.BROWSE),
        ("GET", "/products/7", Worth.BROWSE),
        ("HEAD", "/products/top-selling", Worth.BROWSE),
        ("GET", "/coupons", Worth.BROWSE),
        ("GET", "/coupons/7", Worth.BROWSE),
        ("GET", "/coupons/mine", Worth.OWN),
        ("GET", "/coupons/issuances/7", Worth.OWN),
        ("POST", "/coupons/issue", Worth.CLAIM),
        ("POST", "/orders", Worth.ORDER),
        ("POST", "/balance/charge", Worth.ORDER),
        ("POST", "/auth/token", Worth.ENTRY),
        ("GET", "/balance/7", Worth.OWN),
        ("GET", "/orders/7", Worth.OWN),
        ("POST", "/admin/login/", Worth.OWN),
        ("GET", "/livez", Worth.VITAL),
        ("GET", "/readyz", Worth.VITAL),
    ],
)
def test_worth_of_requests(method, path, worth):
    assert admission.worth_of({"REQUEST_METHOD": method, "PATH_INFO": path}) is worth


def test_a_wait_is_the_queue_times_what_a_request_takes(door):
    assert door.wait_of(40) == pytest.approx(0.04)


def test_a_burst_is_let_in_up_to_the_longest_wait(door):
    assert refused(door, queued=500) == []
    assert refused(door, queued=501) == [0, 1, 2, 3]
    assert refused(door, queued=2_001) == [0, 1, 2, 3, 4]


def arrive(door, requests, seconds=0.25):
    """Let so many requests arrive between two looks, while nothing waits."""
    for _ in range(requests):
        assert not door.refuses(OWN, 0)
    door.look(0, seconds)


def test_a_burst_may_wait_half_as_long_once_more_arrives_than_the_threads_can_do(door):
    arrive(door, 625)  # 1,000 a second is what they can do; 2.5 times that
    assert refused(door, queued=251) == []  # a mean of 1.25
    arrive(door, 626 - len(ALL))
    assert refused(door, queued=250) == []
    assert refused(door, queued=251) == [0, 1, 2]
    assert refused(door, queued=281) == [0, 1, 2, 3]
    for _ in range(3):
        arrive(door, 0)
    assert refused(door, queued=500) == []


def test_what_arrives_at_once_after_a_stall_is_no_surge(door):
    for _ in range(10):
        arrive(door, 1_250, seconds=1.25)
    assert refused(door, queued=500) == []


def test_a_process_that_has_just_started_refuses_nobody():
    young = Door(threads=8)
    for _ in range(admission.YOUNG_LOOKS):
        young.answered(1.0)
        look(young, waited=1.0)
        assert refused(young, queued=10_000) == []
    overload(young)
    assert young.is_overloaded
    assert refused(young, queued=10_000) == [0, 1, 2, 3, 4]


def test_long_looks_with_a_short_one_between_are_not_overload(door):
    for waited in (0.16, 0.16, 0.16, 0.15, 0.16, 0.16, 0.16):
        look(door, waited=waited)
        assert not door.is_overloaded
    look(door, waited=0.16)
    assert door.is_overloaded


def test_threads_that_take_nothing_while_requests_wait_are_overload(door):
    for _ in range(4):
        look(door, waited=None, queued=1)
    assert door.is_overloaded


def test_an_idle_process_is_not_overloaded(door):
    for _ in range(10):
        look(door, waited=None, queued=0)
    assert not door.is_overloaded


def test_kinds_are_refused_in_the_order_of_their_worth(door):
    overload(door)
    assert [refused(door, queued=queued) for queued in (50, 51, 100, 101, 160, 161, 280, 281, 2_000, 2_001)] == [
        [],
        [0],
        [0],
        [0, 1],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
    ]


def test_waits_grow_with_worth():
    assert [*WAIT_SECONDS] == [worth for worth in Worth if worth is not Worth.VITAL]
    assert sorted(WAIT_SECONDS.values()) == [*WAIT_SECONDS.values()]
    assert WAIT_SECONDS[Worth.OWN] < BURST_SECONDS


def test_overload_ends_when_the_queue_was_short_in_each_of_four_looks(door):
    overload(door)
    for _ in range(10):
        for _ in range(3):
            look(door, waited=0.02)
        look(door, waited=0.021)
        assert door.is_overloaded
    for _ in range(3):
        look(door, waited=0.02)
        assert door.is_overloaded
    look(door, waited=0.02)
    assert not door.is_overloaded
    assert refused(door, queued=500) == []


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_refusal_is_a_problem_that_says_when_to_come_back():
    environ = ORDER | {"HTTP_X_REQUEST_ID": "abc", "HTTP_ACCEPT_LANGUAGE": "ko"}
    status, fields, body = admission.refusal(environ)
    headers = dict(fields)
    assert status == "503 Service Unavailable"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Length"] == str(len(body))
    assert (headers["X-Request-Id"], headers["Content-Language"]) == ("abc", "ko")
    assert b'"code":"overloaded"' in body
    assert b'"request_id":"abc"' in body


def test_the_refused_do_not_all_come_back_at_once():
    random.seed(1)
    waits = [int(dict(admission.refusal(ORDER, retry_seconds=10)[1])["Retry-After"]) for _ in range(500)]
    assert (min(waits), max(waits)) == (8, 13)
    assert {int(dict(admission.refusal(ORDER, retry_seconds=1_000)[1])["Retry-After"])} == {30}


def test_head_is_refused_without_a_body():
    assert admission.refusal(BROWSE | {"REQUEST_METHOD": "HEAD"})[2] == b""


# --- what is not asked for often ------------------------------------------------------------------------------------


def test_what_is_in_no_cache_is_not_made_during_overload(monkeypatch):
    known, unknown = (f"{word}/{uuid.uuid4()}" for word in ("known", "unknown"))
    representations.get(known, lambda: ({"a": 1}, ""))
    monkeypatch.setattr(admission.door, "is_overloaded", True)
    assert representations.get(known, lambda: ({"a": 2}, "")).body == b'{"a":1}'
    with pytest.raises(errors.Overloaded):
        representations.get(unknown, lambda: ({"a": 1}, ""))
    monkeypatch.setattr(admission.door, "is_overloaded", False)
    assert representations.get(unknown, lambda: ({"a": 1}, "")).body == b'{"a":1}'


# --- backlogs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ages(monkeypatch):
    ages = {Worth.ORDER: 0.0, Worth.CLAIM: 0.0}
    monkeypatch.setattr(admission, "_backlogs", [(worth, lambda worth=worth: ages[worth]) for worth in ages])
    monkeypatch.setattr(admission, "_closed", {})
    return ages


def closed():
    adding = [ORDER, CLAIM, {"REQUEST_METHOD": "POST", "PATH_INFO": "/balance/charge"}, BROWSE, OWN]
    return [environ["PATH_INFO"] for environ in adding if admission.refusal_by_backlog(environ)]


def test_no_more_is_accepted_once_the_oldest_has_waited_twenty_seconds(ages):
    ages[Worth.ORDER] = 20.0
    admission.look_at_backlogs()
    assert closed() == []
    ages[Worth.ORDER] = 20.1
    admission.look_at_backlogs()
    assert closed() == ["/orders"]
    ages |= {Worth.ORDER: 0.0, Worth.CLAIM: 21.0}
    admission.look_at_backlogs()
    assert closed() == ["/coupons/issue"]
    ages[Worth.CLAIM] = math.nan
    admission.look_at_backlogs()
    assert closed() == []


def test_who_is_refused_by_a_backlog_comes_back_when_it_may_be_gone(ages):
    ages[Worth.ORDER] = 100.0
    admission.look_at_backlogs()
    reply = admission.refusal_by_backlog(ORDER)
    assert reply is not None
    assert dict(reply[1])["Retry-After"] == "30"


def test_admission_may_be_switched_off(ages, settings):
    settings.ADMISSION = False
    ages[Worth.ORDER] = 100.0
    admission.look_at_backlogs()
    assert closed() == []
