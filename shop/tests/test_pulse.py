"""What is looked at each second goes on being looked at, whatever goes wrong."""

import pytest
from django.db import OperationalError

from shop import pulse


class Stopped(BaseException):
    """Ends the thread's loop in a test."""


def test_one_look_that_fails_stops_neither_the_others_nor_itself(monkeypatch):
    seen = []

    def failing():
        seen.append("failing")
        raise OperationalError

    def rest(seconds):
        if len(seen) == 4:
            raise Stopped

    monkeypatch.setattr(pulse, "_connect", lambda: None)
    monkeypatch.setattr(pulse.time, "sleep", rest)
    with pytest.raises(Stopped):
        pulse._beat((failing, lambda: seen.append("other")))
    assert seen == ["failing", "other", "failing", "other"]
