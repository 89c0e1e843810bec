"""When the shop noticed, when its customers did, and when it was well again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtests.drills.history import Attempt, Entry, Outcome
from loadtests.drills.watch import LATE_ORDER_SECONDS, Look, Sight

SLOW_MS = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """
    Seconds of the drill; None where it did not happen.

    `noticed` by window: `readiness`, `metrics`, `log`. `degraded` is when the first customer felt it. `recovered` is
    the last moment of trouble after healing: an alarm of readiness, a request without a known outcome, an old order.
    `drained` is when nothing accepted was under way any more.
    """

    injected: float
    healed: float
    noticed: dict[str, float]
    degraded: float | None
    recovered: float
    load_ended: float
    drained: float | None

    @property
    def to_notice(self) -> float | None:
        return round(min(self.noticed.values()) - self.injected, 2) if self.noticed else None

    @property
    def to_degrade(self) -> float | None:
        return None if self.degraded is None else round(self.degraded - self.injected, 2)

    @property
    def to_recover(self) -> float:
        return round(self.recovered - self.healed, 2)

    @property
    def to_drain(self) -> float | None:
        """From recovery, or from the last request where that came later."""
        return None if self.drained is None else round(max(0.0, self.drained - max(self.recovered, self.load_ended)), 2)


def attempts_of(entries: Iterable[Entry]) -> list[Attempt]:
    return [attempt for entry in entries for attempt in entry.attempts]


def noticed(sight: Sight, injected: float) -> dict[str, float]:
    """Return the first new alarm of each window after a moment."""
    found = {}
    for window in ("readiness", "metrics"):
        looks = [look for look in sight.looks if look.window == window]
        if (at := _first_new_alarm(looks, injected)) is not None:
            found[window] = at
    told = [at for at, _line in sight.told if at >= injected]
    return found | ({"log": told[0]} if told else {})


def _first_new_alarm(looks: Sequence[Look], injected: float) -> float | None:
    before = [look for look in looks if look.at < injected]
    known = set(before[-1].alarms) if before else set()
    return next((look.at for look in looks if look.at >= injected and set(look.alarms) - known), None)


def degraded(entries: Sequence[Entry], sight: Sight, injected: float) -> float | None:
    """Return when the first customer felt something: no known outcome, a slow answer, or an order that waits."""
    felt = [
        attempt.end
        for attempt in attempts_of(entries)
        if attempt.end >= injected and (attempt.outcome is Outcome.INFO or attempt.ms > SLOW_MS)
    ]
    felt += [state.at for state in sight.waiting if state.at >= injected and state.oldest > LATE_ORDER_SECONDS]
    return min(felt, default=None)


def recovered(entries: Sequence[Entry], sight: Sight, healed: float) -> float:
    """Return the last moment of trouble after healing, or healing itself where there was none."""
    trouble = [
        attempt.end for attempt in attempts_of(entries) if attempt.start >= healed and attempt.outcome is Outcome.INFO
    ]
    trouble += [look.at for look in sight.looks if look.window == "readiness" and look.alarms and look.at >= healed]
    trouble += [state.at for state in sight.waiting if state.oldest > LATE_ORDER_SECONDS and state.at >= healed]
    return max(trouble, default=healed)
