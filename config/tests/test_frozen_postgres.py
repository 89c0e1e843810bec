"""A shop whose PostgreSQL is frozen: stopped processes, open connections, a kernel that still acknowledges (F24)."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from config.tests.client import Answer, Client
from config.tests.conftest import Customer, World
from shop.testing import Running, wait_until
from shop.testing_shop import RunningShop

CALLERS = 24  # more than the web has threads
REQUEST_SECONDS, OTHERS_SECONDS, BACK_SECONDS = 5.0, 1.0, 5.0
WORKER_GAVE_UP = "PostgreSQL has not answered for 7.0 s"


@contextmanager
def frozen(shop: RunningShop) -> Iterator[None]:
    """Stop every process of the shop's PostgreSQL; the first one first, so that it makes no more of them."""
    stopped: list[int] = []
    try:
        while left := sorted(set(shop.part("postgres")) - set(stopped)):
            os.kill(left[0], signal.SIGSTOP)
            stopped.append(left[0])
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def timed(call: partial[Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def charging(client: Client, customer: Customer) -> partial[Answer]:
    return partial(
        client.request, "POST", "/balance/charge", body={"amount": 1}, token=customer.token, may_be_busy=True
    )


def assert_quick(client: Client, *paths: str) -> None:
    for path in paths:
        answer, seconds = timed(partial(client.get, path))
        assert (answer.status, seconds < OTHERS_SECONDS) == (200, True), (path, seconds)


def test_frozen_database_refuses_its_routes_in_time_and_costs_the_others_nothing(world: World, client: Client) -> None:
    customers, page, campaign = world.customers(CALLERS), f"/products/{world.product()}", world.campaign()
    world.coupon(world.customer(), campaign)  # the gate stands
    client.get(page)
    with frozen(world.shop):
        calls = [Running(partial(timed, charging(client, customer))) for customer in customers]
        assert_quick(client, page, "/livez", page, "/livez")
        claim = client.post("/coupons/issue", {"coupon_id": campaign}, token=customers[0].token)
        assert claim.status == 202  # Redis alone; and it wakes a worker, which is stuck then
        answers = [call.outcome() for call in calls]
        assert_quick(client, "/livez")
        assert {answer.outcome for answer, _seconds in answers} == {(503, "busy")}
        assert max(seconds for _answer, seconds in answers) < REQUEST_SECONDS
        later = [timed(charging(client, customer)) for customer in customers]
        assert {answer.outcome for answer, _seconds in later} == {(503, "busy")}
        assert sum(seconds for _answer, seconds in later) < CALLERS * 0.5  # at once, but for the few who look for all
        wait_until(lambda: WORKER_GAVE_UP in world.shop.log.read_text())
    thawed = time.monotonic()
    wait_until(lambda: charging(client, customers[0])().status == 200)
    assert time.monotonic() - thawed < BACK_SECONDS
    path = f"/coupons/issuances/{claim.json['issuance_id']}"
    wait_until(lambda: client.get(path, token=customers[0].token).json["status"] == "issued")
    world.assert_audit_clean()
