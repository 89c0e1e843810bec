"""
The OpenAPI document, from the same specifications that validate requests and the same classes that refuse them.

Each room describes the addresses of its `api` module in its `schema` module. Only `manage.py openapi` imports them: the
web serves the finished file and pays neither for drf-spectacular nor for the descriptions.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any

from django.urls.converters import get_converters
from django.utils.module_loading import autodiscover_modules
from drf_spectacular.drainage import GENERATOR_STATS, error
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework.views import APIView

from shop import errors
from shop.endpoint import KEY_LIMIT, Endpoint
from shop.inputs import EMPTY, Object, Parameter
from shop.problems import status_of

Json = dict[str, Any]

# --- shapes ---------------------------------------------------------------------------------------------------------

ID: Json = {"type": "integer", "format": "int64", "minimum": 1}
COUNT: Json = {"type": "integer", "format": "int64", "minimum": 0}
POSITIVE: Json = {"type": "integer", "format": "int64", "minimum": 1}
MONEY: Json = {"type": "integer", "format": "int64", "description": "In the currency's minor unit."}
CURRENCY: Json = {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 code."}
TIME: Json = {"type": "string", "format": "date-time", "description": "RFC 3339 in UTC with `Z`."}
TEXT: Json = {"type": "string"}
SCHEMAS: dict[str, Json] = {}


def nullable(shape: Json) -> Json:
    """Return `shape` or null."""
    if "type" in shape:
        return {**shape, "type": [shape["type"], "null"]} | (
            {"enum": [*shape["enum"], None]} if "enum" in shape else {}
        )
    return {"anyOf": [shape, {"type": "null"}]}


def one_of(words: Iterable[str]) -> Json:
    """Return the shape of a string that is one of `words`."""
    return {"type": "string", "enum": list(words)}


def array(shape: Json, **limits: int) -> Json:
    return {"type": "array", "items": shape, **limits}


def record(name: str, /, optional: Iterable[str] = (), about: str = "", **properties: Json) -> Json:
    """Enter an object with exactly these properties into the components and return a reference to it."""
    required = [key for key in properties if key not in set(optional)]
    shape = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    SCHEMAS[name] = shape | ({"description": about} if about else {})
    return {"$ref": f"#/components/schemas/{name}"}


LIST_NOTES = {
    "size": "Rows on a page.",
    "cursor": "From the `next` or `previous` link of the same list; opaque.",
    "status": "Only rows in this state.",
}


def listing(name: str, row: Json) -> Json:
    """Return the envelope of API.md "Lists" around `row`."""
    link = {"type": ["string", "null"], "format": "uri"}
    return record(name, results=array(row, maxItems=100), next=link, previous=link)


# --- headers --------------------------------------------------------------------------------------------------------

HEADERS: dict[str, Json] = {
    "X-Request-Id": {"description": "The client's, if it sent a sane one, else a new one.", "schema": TEXT},
    "Cache-Control": {"description": "Who may keep the answer, and for how long.", "schema": TEXT},
    "ETag": {"description": "Send it as `If-None-Match` to get 304 while nothing has changed.", "schema": TEXT},
    "Location": {
        "description": "Where to see how far the work is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {"description": "Seconds to wait before asking again.", "schema": COUNT},
    "RateLimit-Policy": {
        "description": "The limit: `q` requests within `w` seconds (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string", "pattern": '^"[a-z-]+";q=[0-9]+;w=[0-9]+$'},
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests, the next one in `t` seconds.",
        "schema": {"type": "string", "pattern": '^"[a-z-]+";r=[0-9]+;t=[0-9]+$'},
    },
    "WWW-Authenticate": {"description": "Always `Bearer`.", "schema": {"const": "Bearer"}},
    "Content-Language": {"description": "Of `title` and `detail`.", "schema": one_of(["en", "ko"])},
    "Link": {"description": "`next` and `prev` of a list (RFC 8288); absent without either.", "schema": TEXT},
    "Idempotent-Replayed": {"description": "`true` on a remembered answer, else absent.", "schema": {"const": "true"}},
}
OPTIONAL_HEADERS = {"Link", "Idempotent-Replayed"}
REQUEST_HEADERS: dict[str, Json] = {
    "X-Request-Id": {"description": "1-64 letters, digits or `._:/+=-`; repeated in the answer.", "schema": TEXT},
    "Accept-Language": {"description": "`en` (default) or `ko`, for texts meant for people.", "schema": TEXT},
    "If-None-Match": {"description": "ETags the client has already.", "schema": TEXT},
    "Idempotency-Key": {
        "description": "Makes repeating the request safe: the same key and body get the first answer again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LIMIT, "pattern": "^[ -~]+$"},
    },
}


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


# --- operations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One way an operation can succeed; `shape` None has no body."""

    status: int
    about: str
    shape: Json | None
    headers: tuple[str, ...] = ("Cache-Control",)


@dataclass(frozen=True, slots=True)
class Operation:
    """What an address does with one method; `notes` explain its parameters, `failures` are those beyond the usual."""

    name: str
    tag: str
    answers: tuple[Answer, ...]
    failures: tuple[type[errors.Failure], ...] = ()
    query: Mapping[str, Parameter] = field(default_factory=dict)
    body: Object | None = None
    takes_key: bool = False
    is_cached: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


OPERATIONS: dict[tuple[type[APIView], str], Operation] = {}


@cache
def read_descriptions() -> None:
    """Import every room's `schema` module."""
    autodiscover_modules("schema")


def describe(view: type[Endpoint], method: str, operation: Operation) -> None:
    """Enter what `view` does on `method`; its summary is the docstring of the method or, failing that, of the view."""
    OPERATIONS[view, method] = operation


def cached(about: str, shape: Json, *, listed: bool = False) -> tuple[Answer, ...]:
    """Return the answers of a public read: the representation, or 304 to a client that has it."""
    headers = ("Cache-Control", "ETag", "Link") if listed else ("Cache-Control", "ETag")
    return Answer(200, about, shape, headers), Answer(304, "The client has it already.", None, headers)


PLAIN: dict[str, Json] = {}


def describe_page(path: str, name: str, about: str, *, media_type: str, headers: tuple[str, ...] = ()) -> None:
    """Enter an address that is no `Endpoint` and always answers GET the same."""
    answer = {"description": about, "headers": _headers(headers), "content": {media_type: {"schema": {}}}}
    kept = (
        {"304": {"description": "The client has it already.", "headers": _headers(headers)}}
        if "ETag" in headers
        else {}
    )
    responses = {"200": answer} | kept | _refusals((errors.InvalidInput, errors.InternalError))
    PLAIN[path] = {
        "get": {"operationId": name, "summary": about, "tags": ["Operations"], "responses": responses, "security": []}
    }


# --- refusals -------------------------------------------------------------------------------------------------------

ALWAYS = (errors.InvalidInput, errors.Overloaded, errors.Busy, errors.DependencyUnavailable, errors.InternalError)
FOR_TOKEN = (errors.NotAuthenticated, errors.InvalidToken)
FOR_BODY = (errors.InvalidJson, errors.UnknownField, errors.BodyTooLarge, errors.UnsupportedMediaType)
FOR_KEY = (errors.IdempotencyKeyReused, errors.IdempotencyKeyInFlight)
# Groups that refuse many operations in the same way become components.
COMMON: dict[str, tuple[type[errors.Failure], ...]] = {
    "TokenRefused": FOR_TOKEN,
    "BodyTooLarge": (errors.BodyTooLarge,),
    "UnsupportedMediaType": (errors.UnsupportedMediaType,),
    "KeyReused": (errors.IdempotencyKeyReused,),
    "TooManyRequests": (errors.TooManyRequests,),
    "InternalError": (errors.InternalError,),
    "Unavailable": (errors.Overloaded, errors.Busy, errors.DependencyUnavailable),
}


def all_refusals(base: type[errors.Failure] = errors.Failure) -> list[type[errors.Failure]]:
    """Return every refusal of the rooms' `errors` modules that has a code of its own, by code."""
    found = [base] if "code" in base.__dict__ and base.__module__.endswith(".errors") else []
    for child in base.__subclasses__():
        found += all_refusals(child)
    return sorted(set(found), key=lambda kind: kind.code)


def _fact(item: Any) -> Json:
    if item.name == "errors":
        return array(record("FieldError", pointer=TEXT, code=TEXT, detail=TEXT))
    return TIME if item.type in (datetime, "datetime") else {"type": "integer", "format": "int64"}


def problem(kind: type[errors.Failure]) -> Json:
    """Enter the problem document of a refusal into the components and return a reference to it."""
    return record(
        kind.__name__,
        about=" ".join((kind.__doc__ or "").split()),
        type={"const": f"/docs/problems#{kind.code}"},
        title=TEXT,
        status={"const": status_of(kind)},
        detail=TEXT,
        code={"const": kind.code},
        request_id=TEXT,
        **{item.name: _fact(item) for item in fields(kind) if item.default is MISSING},
    )


def refused(kinds: Iterable[type[errors.Failure]]) -> Json:
    """Return the response for refusals that share a status."""
    kinds = sorted(set(kinds), key=lambda kind: kind.code)
    status, shapes = status_of(kinds[0]), {kind.code: problem(kind) for kind in kinds}
    headers = ["Cache-Control", "Content-Language"]
    headers += ["WWW-Authenticate"] if status == 401 else []
    headers += ["Retry-After"] if status in (429, 503) else []
    headers += ["RateLimit", "RateLimit-Policy"] if status == 429 else []
    shape = (
        shapes[kinds[0].code]
        if len(kinds) == 1
        else {
            "type": "object",
            "properties": {"code": one_of(shapes)},
            "oneOf": list(shapes.values()),
            "discriminator": {"propertyName": "code", "mapping": {code: ref["$ref"] for code, ref in shapes.items()}},
        }
    )
    optional = {"Retry-After": HEADERS["Retry-After"]} if errors.IdempotencyKeyInFlight in kinds else {}
    return {
        "description": "\n".join(f"- `{kind.code}`: {' '.join((kind.__doc__ or '').split())}" for kind in kinds),
        "headers": _headers(headers) | optional,
        "content": {"application/problem+json": {"schema": shape}},
    }


def _refusals(kinds: Iterable[type[errors.Failure]]) -> dict[str, Json]:
    by_status: dict[int, list[type[errors.Failure]]] = {}
    for kind in kinds:
        by_status.setdefault(status_of(kind), []).append(kind)
    common = {frozenset(group): name for name, group in COMMON.items()}
    return {
        str(status): {"$ref": f"#/components/responses/{common[key]}"}
        if (key := frozenset(group)) in common
        else refused(group)
        for status, group in by_status.items()
    }


# --- with drf-spectacular -------------------------------------------------------------------------------------------


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # theirs
    """How `shop.auth.BearerToken` is called in the document."""

    target_class = "shop.auth.BearerToken"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> Json:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class ShopSchema(AutoSchema):
    """Puts an `Operation` where drf-spectacular would guess from serializers."""

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Json | None:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        read_descriptions()
        operation = OPERATIONS.get((type(self.view), method.lower()))
        if operation is None:
            error(f"{method} {path} is described in no schema module")
            return None
        summary, _newline, rest = self._documentation().partition("\n")
        document = {
            "operationId": operation.name,
            "summary": summary.strip(),
            "description": rest.strip(),
            "tags": [operation.tag],
            "parameters": [*self._path_parameters(), *_parameters(operation)],
            "requestBody": _request_body(operation),
            "security": self.get_auth(),
            "responses": _refusals(self._failures(operation)) | _success(operation),
        }
        return {name: value for name, value in document.items() if value or name == "security"}

    def _documentation(self) -> str:
        return inspect.getdoc(getattr(self.view, self.method.lower())) or inspect.getdoc(type(self.view)) or ""

    def _path_parameters(self) -> list[Json]:
        """Return the path's parameters, each as its converter (shop.converters) reads it."""
        converters: Mapping[str, Any] = get_converters()
        return [
            {"name": name, "in": "path", "required": True, "schema": converters[kind].schema}
            for kind, name in re.findall(r"<(\w+):(\w+)>", self.path_regex)
        ]

    def _failures(self, operation: Operation) -> Iterable[type[errors.Failure]]:
        needed = self.view.get_authenticators()
        conditions = {
            FOR_TOKEN: needed,
            FOR_BODY: operation.body is not None,
            FOR_KEY: operation.takes_key,
            (errors.PathNotFound,): "<" in self.path_regex,  # what is no number is no address
        }
        usual = [kind for group, applies in conditions.items() if applies for kind in group]
        return (*ALWAYS, *usual, *operation.failures)


def _parameters(operation: Operation) -> list[Json]:
    query = [
        {"name": name, "in": "query", "schema": spec.schema()}
        | ({"description": operation.notes[name]} if name in operation.notes else {})
        for name, spec in operation.query.items()
    ]
    names = ["Idempotency-Key"] * operation.takes_key + ["If-None-Match"] * operation.is_cached
    names += ["Accept-Language", "X-Request-Id"]
    return query + [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _request_body(operation: Operation) -> Json | None:
    if operation.body is None:
        return None
    content = {"application/json": {"schema": operation.body.schema()}}
    return {"content": content, "required": operation.body is not EMPTY}


def _success(operation: Operation) -> dict[str, Json]:
    extra = ("Idempotent-Replayed",) if operation.takes_key else ()
    return {
        str(answer.status): {"description": answer.about, "headers": _headers((*answer.headers, *extra))}
        | ({} if answer.shape is None else {"content": {"application/json": {"schema": answer.shape}}})
        for answer in operation.answers
    }


class BadDocument(Exception):
    """The document cannot be built: an address is not described, or drf-spectacular warns."""


def build() -> Json:
    """
    Return the whole OpenAPI document.

    Raises: BadDocument.
    """
    read_descriptions()
    GENERATOR_STATS.reset()
    document: Json = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # theirs
    if GENERATOR_STATS:
        raise BadDocument("drf-spectacular has warnings or errors, see above")
    for kind in all_refusals():
        problem(kind)
    document["paths"] = dict(sorted((document["paths"] | PLAIN).items()))
    components = document["components"]
    components["schemas"] = SCHEMAS
    components["responses"] = {name: refused(group) for name, group in COMMON.items()}
    components["headers"] = {name: {"required": name not in OPTIONAL_HEADERS} | HEADERS[name] for name in HEADERS}
    components["parameters"] = {
        name: {"name": name, "in": "header", "required": False} | REQUEST_HEADERS[name] for name in REQUEST_HEADERS
    }
    return document
