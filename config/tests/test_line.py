"""The line before the web's threads."""

import threading
from functools import partial

from config.line import Line
from shop.testing import wait_until


class Thread(threading.Thread):
    """Takes from the line until it is given None, and says what it took."""

    def __init__(self, line: Line[int | None], taken: list[tuple[str, int]]) -> None:
        super().__init__(daemon=True)
        self.line, self.taken = line, taken
        self.start()

    def run(self) -> None:
        me = threading.Lock()
        me.acquire()
        while (item := self.line.take(me)) is not None:
            self.taken.append((self.name, item))


def has_idle(line: Line[int | None], threads: int) -> bool:
    return len(line._idle) == threads


def has_taken(taken: list[tuple[str, int]], items: int) -> bool:
    return len(taken) == items


def crew(line: Line[int | None], size: int) -> tuple[list[Thread], list[tuple[str, int]]]:
    """Return threads that have become idle one after the other, and where they note what they take."""
    taken: list[tuple[str, int]] = []
    threads = []
    for number in range(1, size + 1):
        threads.append(Thread(line, taken))
        wait_until(partial(has_idle, line, number))
    return threads, taken


def test_the_thread_that_became_idle_last_goes_first() -> None:
    line: Line[int | None] = Line()
    threads, taken = crew(line, 3)
    for item in range(5):
        line.put(item)
        wait_until(partial(has_taken, taken, item + 1))
        wait_until(partial(has_idle, line, 3))
    assert taken == [(threads[-1].name, item) for item in range(5)]


def test_what_waits_is_taken_in_order_of_arrival() -> None:
    line: Line[int | None] = Line()
    for item in range(100):
        line.put(item)
    assert len(line) == 100
    line.put(None)
    taken: list[tuple[str, int]] = []
    Thread(line, taken).join(10)
    assert [item for _name, item in taken] == list(range(100))
    assert len(line) == 0


def test_everything_is_taken_once_and_every_thread_is_told_to_end() -> None:
    line: Line[int | None] = Line()
    threads, taken = crew(line, 8)
    for item in range(20_000):
        line.put(item)
    for _ in threads:
        line.put(None)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(item for _name, item in taken) == list(range(20_000))
