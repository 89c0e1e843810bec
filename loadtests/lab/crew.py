"""The processes that play the customers and the settler: started once, given one run after the other."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from loadtests.lab import clients
from loadtests.lab.answers import PATIENCE_SECONDS
from loadtests.lab.clients import Broken, Buy, Done, Settle

LEAD_SECONDS = 0.05  # from "go" to the first order, so that all begin together
GRACE_SECONDS = 60.0  # beyond the run's own limits
END_SECONDS = 2.0


class CrewFailed(Exception):
    """A process of the lab ended or could not do its task; the message has its own words."""


@dataclass(frozen=True, slots=True)
class Member:
    process: BaseProcess
    pipe: Connection


@dataclass(frozen=True, slots=True)
class Worked:
    """What came back: one Done per buying process, and the settler's if there was one."""

    buyers: list[Done]
    settler: Done | None
    began_at: float


class Crew:
    """Buying processes and one settler."""

    def __init__(self, buyers: list[Member], settler: Member) -> None:
        self._buyers, self._settler = buyers, settler

    @property
    def size(self) -> int:
        """How many processes customers can be spread over."""
        return len(self._buyers)

    def work(self, tasks: list[Buy], settle: Settle | None) -> Worked:
        """Run the tasks side by side, one per process. Raises CrewFailed."""
        buyers = self._buyers[: len(tasks)]
        limit = max(task.seconds for task in tasks) + PATIENCE_SECONDS + GRACE_SECONDS
        given = [*zip(buyers, tasks, strict=True), *([(self._settler, settle)] if settle else [])]
        for member, task in given:
            member.pipe.send(task)
        for member, _task in given:
            if (said := _hear(member, limit)) != clients.READY:
                raise CrewFailed(str(said))
        began_at = time.monotonic() + LEAD_SECONDS
        for member, _task in given:
            member.pipe.send((clients.GO, began_at))
        done = [_done(member, limit) for member in buyers]
        if settle is None:
            return Worked(done, None, began_at)
        self._settler.pipe.send(clients.FINISH)
        return Worked(done, _done(self._settler, limit), began_at)


def _hear(member: Member, seconds: float) -> object:
    try:
        if not member.pipe.poll(seconds):
            raise CrewFailed(f"a process of the lab said nothing for {seconds:.0f} s")
        said: object = member.pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        raise CrewFailed("a process of the lab ended by itself") from error
    if isinstance(said, Broken):
        raise CrewFailed(said.what)
    return said


def _done(member: Member, seconds: float) -> Done:
    said = _hear(member, seconds)
    if not isinstance(said, Done):
        raise CrewFailed(f"a process of the lab answered {said!r}")
    return said


@contextmanager
def hired(size: int) -> Iterator[Crew]:
    """Start `size` buying processes and a settler; end them afterwards."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit Django's connections and threads
    members = []
    try:
        for _number in range(size + 1):
            ours, theirs = context.Pipe()
            process = context.Process(target=clients.serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            members.append(Member(process, ours))
        yield Crew(members[:-1], members[-1])
    finally:
        for member in members:
            member.pipe.close()
        deadline = time.monotonic() + END_SECONDS
        for member in members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
