"""
JSON texts that are nearly right, and an independent reading of what API.md allows of them.

Texts, not values: `1.0`, `1e0`, `-0`, a key given twice or spelled `\\u0061mount` are all lost in a value.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

BIGGEST_ID = 2**63 - 1
Outcome = tuple[int, str]

# --- making ----------------------------------------------------------------------------------------------------------

BOUNDS = [
    *(0, 1, 2, 50, 51, 999, 1_000, 1_001, 9_999_999, 10_000_000, 10_000_001, 2**31, 2**32, 2**53, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400),
]
NUMBERS = st.one_of(
    st.sampled_from([text for bound in BOUNDS for text in (str(bound), str(-bound))]),
    st.sampled_from(["-0", "1.0", "5.0", "0.5", "1e0", "1e3", "1E2", "5e-1", "1e400", "1e-400", "-1e999", "0e0"]),
    st.sampled_from(
        ["01", "+5", "0x5", "1_000", "NaN", "Infinity", "-Infinity", ".5", "5.", "--1", "\uff15", "\u0663"]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
)
STRINGS = st.one_of(
    st.sampled_from(
        ['""', '"5"', '"1_000"', '"\uff11\uff10"', '"\u0663"', '" 5"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"']
    ),
    st.text(max_size=8).filter(lambda text: text.isprintable()).map(json.dumps),
    st.just('"\' OR 1=1--"'),
)
ATOMS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null", "nul", "True", ""]))
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])


def array_of(items: st.SearchStrategy[str], *, shortest: int = 0, longest: int) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(items, min_size=shortest, max_size=longest), SPACE).map(
        lambda made: "[" + f",{made[1]}".join(made[0]) + "]"
    )


def object_of(pairs: st.SearchStrategy[list[tuple[str, str]]]) -> st.SearchStrategy[str]:
    """Return objects of (key as JSON text, value as JSON text) pairs, in any order and with any spacing."""

    def write(made: tuple[list[tuple[str, str]], str, str]) -> str:
        entries, before, after = made
        return "{" + ",".join(f"{before}{key}{after}:{before}{value}{after}" for key, value in entries) + "}"

    return st.tuples(pairs.flatmap(st.permutations), SPACE, SPACE).map(write)


VALUES = st.recursive(
    ATOMS,
    lambda inner: array_of(inner, longest=3) | object_of(st.lists(st.tuples(STRINGS, inner), max_size=3)),
    max_leaves=6,
)


def mostly(usual: st.SearchStrategy[str], weird: st.SearchStrategy[str] = VALUES) -> st.SearchStrategy[str]:
    """
    Return what is usual nine times out of ten: a body has to be right in all other places to test one.

    Not 0 is weird: Hypothesis draws 0 more often than others, and makes failing examples small towards it.
    """
    return st.integers(0, 9).flatmap(lambda number: weird if number == 7 else usual)


def fields(extra_names: list[str], **values: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Return the pairs of a body: now and then one is missing, doubled, spelled with escapes, or unknown."""

    def spelled(name: str) -> st.SearchStrategy[str]:
        escaped = f'"\\u{ord(name[0]):04x}{name[1:]}"'
        return mostly(st.just(f'"{name}"'), st.sampled_from([f'"{name}"', escaped]))

    each = [st.tuples(spelled(name), value) for name, value in values.items()]
    extra = st.tuples(st.sampled_from([json.dumps(name) for name in extra_names]), VALUES)
    some = st.lists(st.one_of(extra, *each), max_size=1)
    usual = st.tuples(*each).map(list)
    more = st.tuples(usual, some).map(lambda both: both[0] + both[1])
    fewer = st.lists(st.sampled_from(range(len(each))), unique=True).flatmap(
        lambda chosen: st.tuples(*(each[place] for place in chosen)).map(list)
    )
    return st.integers(0, 7).flatmap(lambda number: {4: more, 5: fewer, 6: more}.get(number, usual))


DAMAGE: list[Callable[[bytes], bytes]] = [
    lambda body: b"\xef\xbb\xbf" + body,
    lambda body: body + b" x",
    lambda body: body + body,
    lambda body: body[:-1],
    lambda body: body.replace(b"}", b",}", 1),
    lambda body: body.replace(b'"', b'"\xff', 1),
    lambda body: b"[" + body + b"]",
    lambda body: b"/* */" + body,
    lambda body: body.replace(b'"', b"'"),
]


def bodies(text: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Return texts as they are sent; one in ten is damaged as a whole."""
    damage = st.integers(0, 9).flatmap(lambda n: st.sampled_from(DAMAGE) if n == 7 else st.just(bytes))
    return st.tuples(text, damage).map(lambda made: made[1](made[0].encode()))


# --- reading ---------------------------------------------------------------------------------------------------------


class Unreadable(Exception):
    """Raised for what is no JSON text as API.md "Conventions" wants it."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in the text."""

    text: str

    def is_integer(self, lowest: int, highest: int) -> bool:
        """Whether it is written as an integer (not as 1.0, 1e0 or -0) within these bounds."""
        digits = self.text.removeprefix("-")
        return digits.isdecimal() and len(digits) < 25 and lowest <= int(self.text) <= highest

    @property
    def is_beyond_double(self) -> bool:
        return float(self.text) in (float("inf"), float("-inf"))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Unreadable("repeated key")
    return dict(pairs)


def _refuse(text: str) -> Any:
    raise Unreadable(text)


def _check_texts(value: Any) -> None:
    """Refuse half surrogate pairs, and numbers no double can hold."""
    if isinstance(value, dict):
        _check_texts([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)
    elif isinstance(value, Number) and value.is_beyond_double:
        raise Unreadable(value.text)
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unreadable("half a surrogate pair")


def read(body: bytes) -> Any:
    """Return the value with every number as its text. Raises Unreadable."""
    try:
        value = json.loads(
            body.decode(),
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse,
            object_pairs_hook=_without_repeats,
        )
    except ValueError as error:
        raise Unreadable(str(error)) from error
    _check_texts(value)
    return value


def is_id(value: Any) -> bool:
    return isinstance(value, Number) and value.is_integer(1, BIGGEST_ID)
