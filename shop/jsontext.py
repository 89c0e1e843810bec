"""JSON in and out: orjson for speed, and what it lets through that we do not."""

import json
from typing import Any

import orjson

from shop.errors import InvalidJson


def dump(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON; times become RFC 3339 in UTC with `Z`."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("repeated key")
    return document


def load(text: bytes) -> Any:
    """
    Return the document in `text`.

    orjson refuses NaN, lone surrogates, invalid UTF-8, a BOM and more than 1,024 levels, but keeps the last of repeated
    keys and turns integers beyond 64 bits into floats; the second reading refuses the former, input specs the latter.
    Raises: InvalidJson.
    """
    try:
        document = orjson.loads(text)
        if isinstance(document, dict | list):
            json.loads(text, object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error
    return document
