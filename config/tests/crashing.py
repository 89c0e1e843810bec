"""
A shop that is crashed on purpose: real web processes and Celery workers, each ended at a point that a test names.

The shop is `manage.py up` on the session's engines, so the test looks at the same rows. A point is armed with a file
(shop/failpoints.py); whoever passes it takes the file and ends; gunicorn and Celery start the next process. Clients
retry with the same key, the sweep comes at once instead of within five seconds, and what is left is judged.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from celery import current_app

from config.tests.building import STAGES
from config.tests.client import Answer, Client
from config.tests.crash_points import COMMITTED, POINTS, Outcome
from coupons import gate
from shop import db
from shop.failpoints import HITS
from shop.idempotency import TAKE_OVER_SECONDS
from shop.invariants import audit
from shop.models import IdempotencyRecord
from shop.testing import PATIENCE_SECONDS, POLL_SECONDS

SWEEP_SECONDS = 0.2
IN_FLIGHT = (409, "idempotency_key_in_flight")


@dataclass(frozen=True, slots=True)
class Passing:
    """A point that some process has passed, with the items it worked on."""

    point: str
    items: frozenset[int]


@dataclass(slots=True)
class Request:
    """
    A keyed request by one customer; `judge` names what is not as it must be after exactly one effect.

    `heal` ends a fault that was needed for the way the request took; called when the process has ended.
    """

    path: str
    body: Any
    user_id: int
    token: str
    judge: Callable[[Answer], list[str]]
    heal: Callable[[], object] = lambda: None
    key: str = "once"

    @property
    def record(self) -> IdempotencyRecord | None:
        return IdempotencyRecord.objects.filter(user_id=self.user_id, key=self.key).first()


@dataclass(slots=True)
class Work:
    """Work for the stages; `judge` names what is not as it must be when it is settled."""

    items: frozenset[int]
    judge: Callable[[], list[str]]


class CrashableShop:
    """The shop, its failpoints, and what clients and the clock do when something has ended."""

    def __init__(self, client: Client, points: Path) -> None:
        self.client, self.points = client, points
        self.pass_seconds, self.settle_seconds = 10.0, 15.0

    # --- points -----------------------------------------------------------------------------------------------------

    @contextmanager
    def armed(self, actions: Mapping[str, str]) -> Iterator[None]:
        """Arm points by name, and disarm on the way out those that nobody has passed."""
        for point, action in actions.items():
            unfinished = self.points / f".{point}.new"
            unfinished.write_text(action)
            unfinished.rename(self.points / point)
        try:
            yield
        finally:
            for point in actions:
                (self.points / point).unlink(missing_ok=True)

    def wait_for(self, point: str) -> None:
        """Sweep until somebody has passed an armed point. Raises AssertionError when nobody does."""
        self._sweep_until(lambda: not (self.points / point).exists(), seconds=self.pass_seconds)
        assert not (self.points / point).exists(), f"nobody passes {point}"

    def passed(self) -> list[Passing]:
        """Return every point that has been passed so far, in order."""
        file = self.points / HITS
        lines = file.read_text().splitlines() if file.exists() else []
        return [Passing(name, frozenset(map(int, items))) for name, *items in map(str.split, lines)]

    # --- customers and the clock ------------------------------------------------------------------------------------

    def send(self, request: Request) -> Answer | None:
        """Send a request; None if the connection ended without an answer."""
        headers = {"Idempotency-Key": request.key}
        try:
            return self.client.request(
                "POST", request.path, body=request.body, token=request.token, headers=headers, may_be_busy=True
            )
        except (HTTPException, OSError):
            return None

    def retry(self, request: Request) -> Answer:
        """Send a request again until it is not said to be in flight: the dead process's connection may still close."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.send(request)) is None or answer.outcome == IN_FLIGHT:
            assert time.monotonic() < deadline, f"{request.path} has no answer: {answer}"
            time.sleep(POLL_SECONDS)
        return answer

    def let_take_over_time_pass(self, request: Request) -> None:
        """Make an unanswered key as old as it would be when its time is over."""
        db.rows(
            "UPDATE shop_idempotencyrecord SET created_at = created_at - make_interval(secs => %s) "
            "WHERE user_id = %s AND key = %s",
            [TAKE_OVER_SECONDS, request.user_id, request.key],
        )

    def sweep(self) -> None:
        """Wake every stage, past the flags, as the clock does each five seconds."""
        for stage in STAGES:
            current_app.send_task(stage.name, ignore_result=True, retry=False)

    def settle(self, *, seconds: float) -> bool:
        """Sweep until nothing is under way; say whether that was reached."""
        return self._sweep_until(is_settled, seconds=seconds)

    def _sweep_until(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        deadline, next_sweep = time.monotonic() + seconds, time.monotonic() + SWEEP_SECONDS
        while not condition():
            now = time.monotonic()
            if now > deadline:
                return False
            if now > next_sweep:
                self.sweep()
                next_sweep = now + SWEEP_SECONDS
            time.sleep(POLL_SECONDS)
        return True


def is_settled() -> bool:
    """Say whether no order, no claim and no parked item waits for anything."""
    waiting = """
        SELECT EXISTS (SELECT FROM orders_order WHERE settled_at IS NULL) OR EXISTS (SELECT FROM shop_parkeditem)
    """
    return gate.backlog() == 0 and db.rows(waiting) == [(False,)]


@contextmanager
def held(stage: str) -> Iterator[None]:
    """Be the stage's one drainer: what arrives meanwhile is one batch afterwards."""
    key = db.advisory_key(f"drain/{stage}")
    db.rows("SELECT pg_advisory_lock(%s)", [key])
    try:
        yield
    finally:
        db.rows("SELECT pg_advisory_unlock(%s)", [key])


# --- crashes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crash:
    """How a flow went on after its end at a point, and everything that is not as it must be."""

    outcome: Outcome
    findings: list[str]


def crash_request(shop: CrashableShop, actions: Mapping[str, str], request: Request) -> Crash:
    """
    End the process that answers a request where it passes the first of the points armed; let the client try again.

    Raises: AssertionError when nobody passes the point.
    """
    point, action = next(iter(actions.items()))
    with shop.armed(actions):
        first = shop.send(request)
        shop.wait_for(point)
    request.heal()
    findings = [] if answer_fits(first, action) else [f"answered {first} although it was ended by {action}"]
    outcome, answer = try_again(shop, request)
    again = shop.retry(request)
    if (answer.headers["Idempotent-Replayed"] == "true") != (outcome is Outcome.DONE):
        findings.append(f"{outcome}, but the retry says replayed: {answer.headers['Idempotent-Replayed']}")
    if (again.status, again.body, again.headers["Idempotent-Replayed"]) != (answer.status, answer.body, "true"):
        findings.append(f"the key has two answers: {answer} and {again}")
    return Crash(outcome, findings + judged(shop, lambda: request.judge(answer)))


def answer_fits(answer: Answer | None, action: str) -> bool:
    """Say whether a client may hear this of a process that ended: nothing, or that something unexpected happened."""
    return answer is None if action == "kill" else answer is not None and answer.status == 500


def try_again(shop: CrashableShop, request: Request) -> tuple[Outcome, Answer]:
    """Return what a request left behind, by its key's record, and what a retry is told."""
    record = request.record
    if record is None or record.status:
        return Outcome.DONE if record else Outcome.UNDONE, shop.retry(request)
    answer = shop.send(request)
    if answer is not None and answer.outcome != IN_FLIGHT:
        return Outcome.RESUMED, answer
    shop.let_take_over_time_pass(request)
    return Outcome.IN_FLIGHT, shop.retry(request)


def crash_work(shop: CrashableShop, actions: Mapping[str, str], stage: str, start: Callable[[], Work]) -> Crash:
    """
    End the worker that settles a batch where it passes the first of the points armed; let the sweep come.

    Raises: AssertionError when nobody passes the point.
    """
    point = next(iter(actions))
    with shop.armed(actions):
        with held(stage):
            before = len(shop.passed())
            work = start()
        shop.sweep()
        shop.wait_for(point)
    findings = judged(shop, work.judge)
    return Crash(outcome_of_batch(point, shop.passed()[before:], work.items), findings)


def outcome_of_batch(point: str, passed: list[Passing], items: frozenset[int]) -> Outcome:
    """Return what became of the batch that ended at a point: were its items claimed again?"""
    flow, _dot, step = point.rpartition(".")
    position = [passing.point for passing in passed].index(point)
    batch = passed[position].items or items  # a stage that has only begun has claimed nothing yet
    again = [passing for passing in passed[position + 1 :] if passing.point == f"{flow}.before_commit"]
    if not any(passing.items & batch for passing in again):
        return Outcome.DONE
    return Outcome.REPEATED if step in COMMITTED else Outcome.UNDONE


def judged(shop: CrashableShop, judge: Callable[[], list[str]]) -> list[str]:
    """Let the shop settle and return what is wrong then: with this work, with any row of the shop, with the list."""
    unlisted = sorted({passing.point for passing in shop.passed()} - set(POINTS))
    stuck = [] if shop.settle(seconds=shop.settle_seconds) else ["not everything settles"]
    wrong = [str(violation) for violation in audit(wait_seconds=0).violations]
    return [*stuck, *judge(), *wrong, *(f"{point} is not in the list of points" for point in unlisted)]
