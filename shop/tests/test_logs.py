"""No event can look like two lines, or act on the terminal that shows it."""

import json
from unittest import mock

import pytest

from shop import logs


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "tab\t", "a\nFAKE", "a\r\nFAKE", "\x00", "\x1b[31mred", "\x7f", "\x85FAKE", "\x9b31mred"),
        *("\u2028FAKE", "\u2029FAKE", "\u202eEKAF", "\ufeff", "한국어", "\U0001f600", "\U000e0001", "\ud800", '"}\n{"'),
    ],
)
def test_event_is_one_printable_line_that_says_what_was_given(text: str) -> None:
    line = logs._as_json(None, "", {"event": "seen", "path": text, text: 1})
    assert line.isprintable()
    assert json.loads(line) == {"event": "seen", "path": text, text: 1}


def test_readable_text_stays_readable() -> None:
    assert logs._as_json(None, "", {"event": "한국어 \t"}) == '{"event":"한국어 \\t"}'


def test_event_with_anything_in_it_is_written() -> None:
    line = logs._as_json(None, "", {"event": "seen", "number": 2**70, "thing": ValueError("x"), "text": "\udfff"})
    assert json.loads(line) == {"event": "seen", "number": 2**70, "thing": "ValueError('x')", "text": "\udfff"}


def test_a_line_that_cannot_be_written_ends_nobody(monkeypatch):
    broken = mock.Mock()
    broken.write.side_effect = broken.flush.side_effect = OSError(28, "No space left on device")
    monkeypatch.setattr("sys.stderr", broken)
    stderr = logs._Stderr()
    stderr.write("line")
    stderr.flush()
    assert (broken.write.call_count, broken.flush.call_count) == (1, 1)
