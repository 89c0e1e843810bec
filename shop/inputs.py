"""
What a request may contain, said once: the same specification validates the input and describes it in OpenAPI.

Strict on purpose (API.md "Conventions"): booleans are not integers, neither are `1.0`, `"1"` or digits of other
scripts; strings hold no NUL; unknown fields are refused.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from django.http import HttpRequest
from django.utils.translation import gettext_noop as _

from shop import jsontext
from shop.errors import BodyTooLarge, DuplicateItem, InvalidInput, UnknownField, UnsupportedMediaType

BODY_LIMIT_BYTES = 65_536  # FAULTS.md B19-B22
DISCARDED_BYTES = 4_194_304  # FAULTS.md B21: 3 MB still get their 413
BIGINT_MAX = 2**63 - 1
MISSING = object()


@dataclass(slots=True)
class Findings:
    """The errors found so far, each at its JSON pointer."""

    items: list[dict[str, Any]] = field(default_factory=list)

    def add(self, pointer: str, code: str, detail: str, **values: Any) -> None:
        self.items.append({"pointer": pointer, "code": code, "detail": detail, "values": values})

    def raise_if_any(self) -> None:
        """Raise InvalidInput, or the class that names the one special cause."""
        codes = {item["code"] for item in self.items}
        if "unknown_field" in codes:
            raise UnknownField(errors=self.items)
        if codes == {"duplicate_item"}:
            raise DuplicateItem(errors=self.items)
        if codes:
            raise InvalidInput(errors=self.items)


class Spec(Protocol):
    """What one value may be."""

    def read(self, value: Any, pointer: str, found: Findings) -> Any: ...
    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Integer:
    """A JSON integer in a closed range."""

    minimum: int
    maximum: int = BIGINT_MAX

    def read(self, value: Any, pointer: str, found: Findings) -> Any:
        if type(value) is not int:  # bool is a subclass of int
            found.add(pointer, "not_an_integer", _("Must be an integer."))
        elif not self.minimum <= value <= self.maximum:
            found.add(pointer, "out_of_range", _("Must be from %(minimum)s to %(maximum)s."), **self.limits())
        return value

    def limits(self) -> dict[str, int]:
        return {"minimum": self.minimum, "maximum": self.maximum}

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", **self.limits()}


@dataclass(frozen=True, slots=True)
class Text:
    """A JSON string of limited length without control or bidirectional-override characters."""

    minimum: int
    maximum: int
    secret: bool = False

    def read(self, value: Any, pointer: str, found: Findings) -> Any:
        if not isinstance(value, str):
            found.add(pointer, "not_a_string", _("Must be a string."))
        elif not self.minimum <= len(value) <= self.maximum:
            found.add(
                pointer,
                "wrong_length",
                _("Must have from %(minimum)s to %(maximum)s characters."),
                minimum=self.minimum,
                maximum=self.maximum,
            )
        elif any(unicodedata.category(character) in ("Cc", "Cf") for character in value):
            found.add(pointer, "control_character", _("Must not contain control characters."))
        return value

    def schema(self) -> dict[str, Any]:
        plain = {"type": "string", "minLength": self.minimum, "maxLength": self.maximum}
        return plain | {"format": "password"} if self.secret else plain


@dataclass(frozen=True, slots=True)
class Nullable:
    """Either null or what `inner` allows."""

    inner: Spec

    def read(self, value: Any, pointer: str, found: Findings) -> Any:
        return None if value is None else self.inner.read(value, pointer, found)

    def schema(self) -> dict[str, Any]:
        inner = self.inner.schema()
        return inner | {"type": [inner["type"], "null"]}


@dataclass(frozen=True, slots=True)
class Array:
    """A JSON array of limited length; `distinct_by` names the item field that must not repeat."""

    item: Spec
    minimum: int
    maximum: int
    distinct_by: str

    def read(self, value: Any, pointer: str, found: Findings) -> Any:
        if not isinstance(value, list):
            found.add(pointer, "not_an_array", _("Must be an array."))
            return value
        if not self.minimum <= len(value) <= self.maximum:
            limits = {"minimum": self.minimum, "maximum": self.maximum}
            found.add(pointer, "wrong_length", _("Must have from %(minimum)s to %(maximum)s items."), **limits)
            return value
        before = len(found.items)
        items = [self.item.read(item, f"{pointer}/{index}", found) for index, item in enumerate(value)]
        if len(found.items) == before:
            self._check_distinct(items, pointer, found)
        return items

    def _check_distinct(self, items: list[Any], pointer: str, found: Findings) -> None:
        seen = set()
        for index, item in enumerate(items):
            if item[self.distinct_by] in seen:
                found.add(f"{pointer}/{index}/{self.distinct_by}", "duplicate_item", _("Is listed twice."))
            seen.add(item[self.distinct_by])

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.minimum,
            "maxItems": self.maximum,
            "description": f"Items have distinct `{self.distinct_by}`.",
        }


class Object:
    """A JSON object; fields in `optional` may be absent and then become None. Unknown fields are refused."""

    def __init__(self, optional: Mapping[str, Spec] | None = None, **required: Spec) -> None:
        self.required = required
        self.fields: dict[str, Spec] = {**required, **(optional or {})}

    def read(self, value: Any, pointer: str, found: Findings) -> Any:
        if not isinstance(value, dict):
            found.add(pointer, "not_an_object", _("Must be an object."))
            return value
        for name in value:
            if name not in self.fields:
                token = name[:64].replace("~", "~0").replace("/", "~1")  # RFC 6901
                found.add(f"{pointer}/{token}", "unknown_field", _("Is not a field of this request."))
        return {name: self._read_field(name, value, pointer, found) for name in self.fields}

    def _read_field(self, name: str, value: dict[str, Any], pointer: str, found: Findings) -> Any:
        given = value.get(name, MISSING)
        if given is not MISSING:
            return self.fields[name].read(given, f"{pointer}/{name}", found)
        if name in self.required:
            found.add(f"{pointer}/{name}", "required", _("Is required."))
        return None

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: spec.schema() for name, spec in self.fields.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }


EMPTY = Object()  # a body with nothing in it; for requests that need none it may be absent altogether


def body_bytes(request: HttpRequest) -> bytes:
    """Return the request's body, at most 64 KiB of it, chunked or not. Raises BodyTooLarge."""
    announced = request.META.get("CONTENT_LENGTH") or ""
    if announced.isdecimal():
        if int(announced) > BODY_LIMIT_BYTES:
            _discard(request)
            raise BodyTooLarge
        return request.body
    if not request.META.get("wsgi.input_terminated"):
        return b""
    body: bytes = request.META["wsgi.input"].read(BODY_LIMIT_BYTES + 1)  # chunked: Django reads by length only
    if len(body) > BODY_LIMIT_BYTES:
        _discard(request)
        raise BodyTooLarge
    return body


def _discard(request: HttpRequest) -> None:
    """Read on for a while: a client still sending would get a reset connection instead of its answer."""
    left = DISCARDED_BYTES
    while left > 0 and (piece := request.META["wsgi.input"].read(BODY_LIMIT_BYTES)):
        left -= len(piece)


def _check_media_type(request: HttpRequest) -> None:
    """Refuse everything but uncompressed UTF-8 JSON. Raises UnsupportedMediaType."""
    media_type, _separator, parameters = request.META.get("CONTENT_TYPE", "").partition(";")
    charset = parameters.lower().replace('"', "").strip()
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    is_json = media_type.strip().lower() == "application/json"
    if not is_json or charset not in ("", "charset=utf-8") or encoding != "identity":
        raise UnsupportedMediaType


def read_body(request: HttpRequest, spec: Object) -> dict[str, Any]:
    """Return the request's body as `spec` describes it. Raises InvalidInput and its kin, InvalidJson, BodyTooLarge."""
    body = body_bytes(request)
    if not body and spec is EMPTY:
        return {}
    _check_media_type(request)
    document = jsontext.load(body)
    found = Findings()
    value: dict[str, Any] = spec.read(document, "", found)
    found.raise_if_any()
    return value


@dataclass(frozen=True, slots=True)
class Number:
    """A query parameter of ASCII digits in a closed range."""

    minimum: int
    maximum: int
    default: int | None = None

    def parse(self, text: str, pointer: str, found: Findings) -> int | None:
        if not (text.isascii() and text.isdigit()) or len(text) > 19:
            found.add(pointer, "not_an_integer", _("Must be an integer."))
        elif not self.minimum <= int(text) <= self.maximum:
            limits = {"minimum": self.minimum, "maximum": self.maximum}
            found.add(pointer, "out_of_range", _("Must be from %(minimum)s to %(maximum)s."), **limits)
        else:
            return int(text)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum} | _default(self.default)


@dataclass(frozen=True, slots=True)
class Choice:
    """A query parameter that is one of a few words."""

    words: tuple[str, ...]
    default: str | None = None

    def parse(self, text: str, pointer: str, found: Findings) -> str | None:
        if text not in self.words:
            found.add(pointer, "not_a_choice", _("Must be one of: %(words)s."), words=", ".join(self.words))
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)} | _default(self.default)


@dataclass(frozen=True, slots=True)
class Words:
    """A query parameter of free text; empty means absent."""

    maximum: int
    default: str | None = None

    def parse(self, text: str, pointer: str, found: Findings) -> str | None:
        words: str | None = Text(0, self.maximum).read(text.strip(), pointer, found)
        return words or None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.maximum} | _default(self.default)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A query parameter the shop itself made up; whoever decodes it judges it. Empty means absent."""

    default: None = None

    def parse(self, text: str, pointer: str, found: Findings) -> str | None:
        return text or None

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


def _default(value: object) -> dict[str, Any]:
    return {} if value is None else {"default": value}


Parameter = Number | Choice | Words | Opaque


def _pairs(request: HttpRequest) -> list[tuple[str, str]]:
    """Return names and texts of the query; what is not UTF-8 in it stays as half surrogate pairs."""
    text = request.META.get("QUERY_STRING", "")
    return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=50) if text else []


def _is_readable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def read_query(request: HttpRequest, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the known query parameters or their defaults; unknown ones are ignored. Raises InvalidInput."""
    found = Findings()
    values: dict[str, Any] = {name: parameter.default for name, parameter in parameters.items()}
    try:
        pairs = [(name, text) for name, text in _pairs(request) if name in parameters]
    except ValueError:  # too many fields
        found.add("?", "not_readable", _("The query string cannot be read."))
        pairs = []
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    for name, (text, *more) in texts.items():
        if more:
            found.add(f"?{name}", "repeated", _("Must be given once."))
        elif not _is_readable(text):
            found.add(f"?{name}", "not_readable", _("The query string cannot be read."))
        else:
            values[name] = parameters[name].parse(text, f"?{name}", found)
    found.raise_if_any()
    return values
