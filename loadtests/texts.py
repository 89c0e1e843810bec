"""What the reports say, in English and Korean: `words.en.json` and `words.ko.json` hold the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from loadtests.results import Finding

LANGUAGES = ("en", "ko")
NAMED = ("endpoint", "resource")  # values of findings that are labels themselves


@cache
def words(language: str) -> Mapping[str, Mapping[str, str]]:
    """Return all texts of a language, by group and key."""
    return dict(json.loads(Path(__file__).with_name(f"words.{language}.json").read_text(encoding="utf-8")))


def say(finding: Finding, language: str) -> str:
    """Return the finding as a sentence."""
    values = {name: label(value, language) if name in NAMED else value for name, value in finding.values.items()}
    return words(language)["sentences"][finding.key].format(**values)


def label(key: str, language: str) -> str:
    """Return a short text, or the key itself where there is none (statuses, codes)."""
    return words(language)["labels"].get(key, key)


def labels(keys: list[str], language: str) -> list[str]:
    return [label(key, language) for key in keys]


def phrase(key: str, language: str, values: Mapping[str, Any]) -> str:
    """Return a label with values in it."""
    return label(key, language).format(**values)


def text(group: str, key: str, language: str) -> str:
    """Return a longer text: of `advice`, `reading` or `compare`."""
    return words(language)[group][key]
