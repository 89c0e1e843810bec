"""What the lab's report says, in English and Korean: `words.en.json` and `words.ko.json` hold the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "ko")


@cache
def words(language: str) -> Mapping[str, Any]:
    """Return all texts of a language, by group and key."""
    return dict(json.loads(Path(__file__).with_name(f"words.{language}.json").read_text(encoding="utf-8")))


def text(group: str, key: str, language: str, **values: Any) -> str:
    """Return one text with its values filled in."""
    return str(words(language)[group][key]).format(**values)
