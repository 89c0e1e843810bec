"""Ids in paths: ASCII digits only, so that nothing else ever reaches a query."""

from typing import Any, ClassVar

from django.urls import register_converter


class Digits:
    """Any number, also one no row can have: what it means is the view's to say (403 before 404)."""

    regex = "[0-9]{1,40}"
    schema: ClassVar[dict[str, Any]] = {"type": "integer", "minimum": 0}

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class Id64(Digits):
    """The id of a row; a larger number is no address at all (404)."""

    regex = "[0-9]{1,19}"
    schema: ClassVar[dict[str, Any]] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "format": "int64"}

    def to_python(self, value: str) -> int:
        number = int(value)
        if number >= 2**63:
            raise ValueError(value)
        return number


register_converter(Digits, "digits")
register_converter(Id64, "id64")
