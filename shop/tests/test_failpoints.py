"""Failpoints: what a setting says, who acts, and that nothing is left of them where they are off."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress

import pytest
from django.db.transaction import Atomic

from balance.models import Account
from shop import db, failpoints
from shop.failpoints import HITS, BadFailpoint, FailpointRaised, Failpoints
from shop.testing import race
from shop.testing_shop import ROOT, clean_environment

POINT = "orders.pay.advance"


def test_where_they_are_off_nothing_is_left_of_them():
    def operation():
        pass

    assert failpoints.ARE_ON is False
    assert failpoints.hit is failpoints._do_nothing
    assert type(db.transaction("orders.pay", [1])) is Atomic
    assert db.transaction_required(operation).__wrapped__ is operation


@pytest.mark.parametrize("setting", [f"{POINT}=raise", f" {POINT} = raise , a.b=kill", f"{POINT}:7=raise"])
def test_list_acts_each_time(setting):
    points = Failpoints(setting)
    for _ in range(2):
        with pytest.raises(FailpointRaised):
            points.hit(POINT, [5, 7])


def test_other_points_and_other_items_pass():
    points = Failpoints(f"{POINT}:7=raise,orders.pay=raise")
    points.hit(POINT)
    points.hit(POINT, [5, 77])
    points.hit(f"{POINT}s", [7])


@pytest.mark.parametrize("setting", ["a.b=fly", "a.b=", "=kill", "a.b=kill,c", "/no/such/directory"])
def test_what_cannot_be_read_is_refused(setting):
    with pytest.raises(BadFailpoint):
        Failpoints(setting)


@pytest.mark.parametrize("name", [POINT, f"{POINT}:7"])
def test_file_acts_once_and_every_passing_is_noted(tmp_path, name):
    points = Failpoints(str(tmp_path))
    points.hit(POINT, [7])
    (tmp_path / name).write_text("raise\n")
    with pytest.raises(FailpointRaised):
        points.hit(POINT, [5, 7])
    points.hit(POINT)
    assert (tmp_path / HITS).read_text() == f"{POINT} 7\n{POINT} 5 7\n{POINT}\n"
    assert [file.name for file in tmp_path.iterdir()] == [HITS]


def test_of_many_that_pass_at_once_only_one_acts(tmp_path):
    points = Failpoints(str(tmp_path))
    (tmp_path / POINT).write_text("raise")
    ended = race(*[lambda: points.hit(POINT)] * 8)
    assert sorted(map(type, ended), key=str) == [type(None)] * 7 + [FailpointRaised]


@pytest.mark.usefixtures("committed_db")
def test_commit_keeps_what_the_transaction_has_done_so_far():
    with suppress(FailpointRaised), db.transaction():
        Account.objects.create(kind="wallet")
        Failpoints(f"{POINT}=commit").hit(POINT)
        Account.objects.create(kind="wallet")
        raise FailpointRaised
    assert Account.objects.filter(kind="wallet").count() == 1


def test_process_is_stopped_and_killed():
    program = (
        f"import django; django.setup(); from shop.failpoints import hit; hit('a.b'); hit('{POINT}'); print('alive')"
    )
    settings = {"SHOP_TESTING": "true", "SHOP_FAILPOINTS": f"a.b=pause,{POINT}=kill"}
    environment = clean_environment() | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    stopped = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED)
    assert stopped is not None
    assert (stopped.si_code, stopped.si_status) == (os.CLD_STOPPED, signal.SIGSTOP)
    child.send_signal(signal.SIGCONT)
    assert child.communicate()[0] == b""
    assert child.returncode == -signal.SIGKILL


# --- around a transaction -------------------------------------------------------------------------------------------


class Passed:
    """Notes what happens in a transaction of its own."""

    def __init__(self, monkeypatch):
        self.events: list[str] = []
        self.hooks: list[Callable[[], object]] = []
        monkeypatch.setattr(failpoints, "hit", lambda name, of: self.events.append(f"{name} {of}"))

    @contextmanager
    def block(self):
        yield
        self.events.append("COMMIT")
        for hook in self.hooks:
            hook()


def take_stock():
    return "taken"


def lock_stock():
    return "locked"


def test_points_of_a_transaction_come_in_order_and_know_what_was_claimed(monkeypatch):
    passed = Passed(monkeypatch)
    claimed: list[int] = []
    take, lock = failpoints.before(take_stock), failpoints.before(lock_stock)
    take()  # in no flow
    with failpoints.around(passed.block(), "orders.pay", claimed, passed.hooks.append):
        passed.hooks.append(lambda: passed.events.append("wake-up"))
        claimed.append(7)
        assert (lock(), take()) == ("locked", "taken")
    take()
    assert passed.events == [
        "orders.pay.begun []",
        "orders.pay.take_stock [7]",
        "orders.pay.before_commit [7]",
        "COMMIT",
        "orders.pay.after_commit [7]",
        "wake-up",
        "orders.pay.announced [7]",
    ]


def test_flow_of_one_statement_has_no_commit_to_be_before(monkeypatch):
    passed = Passed(monkeypatch)
    with failpoints.around(passed.block(), "orders.place", [7], passed.hooks.append, has_commit=False):
        pass
    assert passed.events == [
        "orders.place.begun [7]",
        "COMMIT",
        "orders.place.after_commit [7]",
        "orders.place.announced [7]",
    ]


def test_transaction_that_fails_passes_no_more_points(monkeypatch):
    passed = Passed(monkeypatch)
    take = failpoints.before(take_stock)
    with pytest.raises(KeyError), failpoints.around(passed.block(), "orders.pay", [], passed.hooks.append):
        raise KeyError
    take()
    assert passed.events == ["orders.pay.begun []"]
