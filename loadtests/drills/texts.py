"""What sheets and tables say, in English and Korean: `words.en.json` and `words.ko.json` hold the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from loadtests.results import Finding

LANGUAGES = ("en", "ko")


@cache
def words(language: str) -> Mapping[str, Mapping[str, str]]:
    """Return all texts of a language, by group and key."""
    return dict(json.loads(Path(__file__).with_name(f"words.{language}.json").read_text(encoding="utf-8")))


def say(group: str, key: str, language: str, values: Mapping[str, object] | None = None) -> str:
    """Return a text with its values in it."""
    return words(language)[group][key].format(**(values or {}))


def label(key: str, language: str) -> str:
    """Return a short text, or the key itself where there is none (statuses, codes)."""
    return words(language)["labels"].get(key, key)


def found(finding: Finding, language: str) -> str:
    """Return what the judge found as a sentence."""
    return say("findings", finding.key, language, finding.values)
