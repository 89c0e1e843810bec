"""
Named points in the flows at which a crash test ends the process; anywhere else they are off and cost nothing.

A point is called after its flow and its step: `orders.take_payments.advance`. `shop.db` makes most of them, so that a
flow has no line that is there for its tests: `db.transaction("orders.take_payments")` hits `.begun`, `.before_commit`,
`.after_commit` (nobody has been told yet) and `.announced` (hooks have run, the caller has not heard), and every
operation called inside hits its own name before it does anything. What stands outside a transaction calls `hit`.

`SHOP_FAILPOINTS` (refused outside tests: `config.env.failpoints`) is `name[:id]=action,…`, and acts each time; or a
directory in which a file called `name[:id]` holds the action: whoever acts on it removes it first, so it acts once.
There the file `.hits` gets a line for every point that is passed: its name and the ids the flow works on. A point with
an id acts only where that id is among them. Actions:

    kill      end this process at once, as a crash does
    raise     raise FailpointRaised
    sleep:ms  wait
    pause     stop this process until it gets SIGCONT
    commit    commit what the transaction has done and go on in a new one: how a test sees that it would notice a flow
              that is split in two
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import connection

P = ParamSpec("P")
T = TypeVar("T")

HITS = ".hits"


class FailpointRaised(RuntimeError):
    """A failpoint was told to raise: stands for any error nobody expects."""


class BadFailpoint(ValueError):
    """SHOP_FAILPOINTS cannot be read."""


def _sleep(milliseconds: str) -> None:
    time.sleep(int(milliseconds) / 1000)


def _raise(_: str) -> None:
    raise FailpointRaised


ACTIONS: dict[str, Callable[[str], None]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "raise": _raise,
    "sleep": _sleep,
    "pause": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "commit": lambda _: connection.connection.commit(),  # psycopg begins anew with the next statement
}


class Failpoints:
    """What SHOP_FAILPOINTS says, and what each point does because of it."""

    def __init__(self, setting: str) -> None:
        self.directory = Path(setting) if setting and "=" not in setting else None
        if self.directory is not None and not self.directory.is_dir():
            raise BadFailpoint(f"SHOP_FAILPOINTS: {setting} is no directory and says nothing to do")
        entries = [entry.partition("=") for entry in setting.split(",")] if "=" in setting else []
        self.always = {point.strip(): action.strip() for point, _equals, action in entries}
        for point, action in self.always.items():
            if not point or action.partition(":")[0] not in ACTIONS:
                raise BadFailpoint(f"SHOP_FAILPOINTS: {point}={action}: the actions are {', '.join(ACTIONS)}")

    def hit(self, name: str, of: Sequence[int] = ()) -> None:
        """Pass the point `name`, working on the items `of`."""
        if self.directory is not None:
            with (self.directory / HITS).open("a") as hits:
                hits.write(" ".join([name, *map(str, of)]) + "\n")
        for point in (name, *(f"{name}:{item_id}" for item_id in of)):
            action = self.always.get(point) or self._take(point)
            if action:
                word, _colon, argument = action.partition(":")
                ACTIONS[word](argument)

    def _take(self, point: str) -> str:
        """Return the action that waits in the directory, once: of two processes at a point only one may act."""
        if self.directory is None:
            return ""
        try:
            taken = (self.directory / point).rename(self.directory / f".{point}.{os.getpid()}")
        except FileNotFoundError:
            return ""
        action = taken.read_text().strip()
        taken.unlink()
        return action


_points = Failpoints(settings.FAILPOINTS)
ARE_ON = bool(settings.FAILPOINTS)


def _do_nothing(name: str, of: Sequence[int] = ()) -> None:
    pass


hit: Callable[..., None] = _points.hit if ARE_ON else _do_nothing


# --- what shop.db makes points of, while they are on ----------------------------------------------------------------

Hook = Callable[[Callable[[], object]], None]


class _Flow(threading.local):
    """The flow whose transaction this thread is in."""

    name = ""
    of: Sequence[int] = ()


_flow = _Flow()


@contextmanager
def around(
    block: AbstractContextManager[None],
    name: str,
    of: Sequence[int],
    run_after_commit: Hook,
    *,
    has_commit: bool = True,
) -> Iterator[None]:
    """
    Hit the points around a flow's transaction. `of` may grow in it: a stage learns there what it has claimed.

    A flow of one statement has no COMMIT to be before.
    """
    with block:
        _flow.name, _flow.of = name, of
        try:
            hit(f"{name}.begun", of)
            run_after_commit(partial(hit, f"{name}.after_commit", of))  # the first hook: the others are lost with it
            yield
            if has_commit:
                hit(f"{name}.before_commit", of)
        finally:
            _flow.name = ""
    hit(f"{name}.announced", of)


def before(operation: Callable[P, T]) -> Callable[P, T]:
    """Hit a point before each call of an operation; what only locks rows has changed nothing and is none."""
    step = operation.__name__
    if step.startswith(("lock_", "claim_")):
        return operation

    @wraps(operation)
    def stepping(*args: P.args, **kwargs: P.kwargs) -> T:
        if _flow.name:
            hit(f"{_flow.name}.{step}", _flow.of)
        return operation(*args, **kwargs)

    return stepping
