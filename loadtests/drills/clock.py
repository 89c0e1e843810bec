"""The time of one drill: seconds since it began, and the moment that was."""

import time
from datetime import UTC, datetime


class Clock:
    def __init__(self) -> None:
        self.began_at = datetime.now(UTC)
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the drill began."""
        return time.monotonic() - self._began

    def wait_until(self, moment: float) -> None:
        """Sleep until this second of the drill."""
        time.sleep(max(0.0, moment - self.now()))
