"""Several drills in a row: houses are kept as long as they are sound and fit, and left clean at the end."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from loadtests.drills import checks, runner
from loadtests.drills.background import Background
from loadtests.drills.errors import NotPossible
from loadtests.drills.house import House
from loadtests.drills.incident import Incident, Pace
from loadtests.drills.registry import Drill

Say = Callable[[str], None]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a directory that is removed again, with all data of the drills in it."""
    directory = Path(tempfile.mkdtemp(prefix="shop-drills-"))
    directory.chmod(0o755)  # the engines' account must pass
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def play(drills: Sequence[Drill], *, seed: int, pace: Pace, say: Say) -> Iterator[Incident]:
    """Run the drills one after another and yield each incident when it is over."""
    background = Background()
    with scratch() as directory:
        street = _Street(directory, background, say)
        try:
            for number, drill in enumerate(drills):
                yield _one(drill, street, drills[number:], seed=seed, pace=pace)
        finally:
            street.leave()
            background.stop()


class _Street:
    """The houses, one after another; a new one where the old one is unfit."""

    def __init__(self, directory: Path, background: Background, say: Say) -> None:
        self.directory, self.background, self.say = directory, background, say
        self.house: House | None = None
        self._built = 0

    def house_for(self, coming: Sequence[Drill]) -> House:
        """Return a house for the first of the coming drills. Raises CannotDrill, CannotStart, NotPossible."""
        plan = coming[0].plan
        if self.house is not None and self.house.plan == plan and self.house.is_well:
            return self.house
        self.leave()
        serves = next((at for at, drill in enumerate(coming) if drill.plan != plan), len(coming))
        self._built += 1
        directory = self.directory / f"house-{self._built}"
        directory.mkdir()
        self.say("a shop for the drill is started")
        self.house = House(plan, directory, self.background, serves=serves)
        self.house.open()
        return self.house

    def leave(self) -> None:
        house, self.house = self.house, None
        if house is not None:
            house.close()


def _one(drill: Drill, street: _Street, coming: Sequence[Drill], *, seed: int, pace: Pace) -> Incident:
    try:
        house = street.house_for(coming)
        street.say(f"{drill.name}: under way")
        return runner.run(drill, house=house, seed=seed, pace=pace, background=street.background)
    except NotPossible as reason:
        return _not_played(drill, seed, pace, skipped=str(reason))
    except Exception as error:  # noqa: BLE001 - one drill that breaks must not keep the others from being run
        log = street.house.log.read_text()[-2_000:] if street.house and street.house.log.exists() else ""
        street.leave()
        return _broken_off(drill, seed, pace, f"{type(error).__name__}: {error}\n{log}")


def _not_played(drill: Drill, seed: int, pace: Pace, *, skipped: str) -> Incident:
    began_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Incident(drill=drill, seed=seed, began_at=began_at, pace=pace, skipped=skipped)


def _broken_off(drill: Drill, seed: int, pace: Pace, error: str) -> Incident:
    incident = replace(_not_played(drill, seed, pace, skipped=""), fault_error=error)
    return replace(incident, checks=tuple(checks.check(incident)))
