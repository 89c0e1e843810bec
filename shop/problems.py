"""Every refusal as `application/problem+json` (RFC 9457), in English or Korean; the one place that knows statuses."""

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

import structlog
from django.core.exceptions import SuspiciousOperation
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation.trans_real import parse_accept_lang_header

from shop import db, errors, jsontext

log = structlog.get_logger("shop.problems")

STATUSES: dict[type[errors.Failure], int] = {
    errors.InvalidToken: 401,
    errors.InvalidCredentials: 401,
    errors.NotAuthenticated: 401,
    errors.NotYourAccount: 403,
    errors.NotAllowed: 403,
    errors.MethodNotAllowed: 405,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyRequests: 429,
    errors.InternalError: 500,
    errors.Invalid: 400,
    errors.NotFound: 404,
    errors.IdempotencyKeyInFlight: 409,
    errors.Refused: 409,
    errors.Busy: 503,
}
RETRY_AFTER_SECONDS = (1, 3)  # jittered, so that the refused do not all come back at once


def status_of(kind: type[errors.Failure]) -> int:
    """Return the HTTP status of a kind of refusal: that of its nearest base in STATUSES."""
    return next(STATUSES[base] for base in kind.__mro__ if base in STATUSES)


def language_of(request: HttpRequest) -> str:
    """Return the language a request asks for."""
    return language_in(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))


def language_in(accept_language: str) -> str:
    """Return `ko` or `en`, whichever the header prefers; English without a preference."""
    for code, quality in parse_accept_lang_header(accept_language):
        if quality and code.partition("-")[0] in ("en", "ko"):
            return code.partition("-")[0]
    return "en"


def failure_for(error: Exception) -> errors.Failure:
    """Return the refusal an exception means; what nobody expected is logged and becomes InternalError."""
    if isinstance(error, errors.Failure):
        return error
    if isinstance(error, db.TROUBLE):
        log.warning("database_trouble", error=str(error))
        return errors.Busy()
    if isinstance(error, SuspiciousOperation):  # Django's own limits, of a query with a thousand fields for one
        return errors.InvalidInput(errors=[])
    if isinstance(error, DataError):  # the edge let through what PostgreSQL cannot store: mend the validation
        log.error("unvalidated_input", exc_info=error)
        return errors.InvalidInput(errors=[])
    log.error("unexpected_error", exc_info=error)
    return errors.InternalError()


def described(item: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of `errors[]` with its detail in the active language."""
    detail, values = item["detail"], item.get("values", {})
    return {"pointer": item["pointer"], "code": item["code"], "detail": gettext(detail) % values}


def _spoken(value: Any) -> Any:
    """Return a fact as it stands in a sentence: times as in the document itself."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


def body_of(failure: errors.Failure, *, status: int, request_id: str, language: str) -> bytes:
    """Return the problem document. Source: API.md "Conventions"."""
    facts = failure.facts()
    title, detail = _texts(failure.title, failure.detail, language)
    if "errors" in facts:
        with translation.override(language):
            facts["errors"] = [described(item) for item in facts["errors"]]
    document = {
        "type": f"/docs/problems#{failure.code}",
        "title": title,
        "status": status,
        "detail": detail % {name: _spoken(value) for name, value in facts.items()},
        "code": failure.code,
        "request_id": request_id,
    }
    return jsontext.dump(document | facts)


@cache
def _texts(title: str, detail: str, language: str) -> tuple[str, str]:
    """Return a failure's texts in a language: a sold-out campaign refuses a thousand times a second."""
    with translation.override(language):
        return gettext(title), gettext(detail)


def response_for(error: Exception, request: HttpRequest) -> HttpResponse:
    """Return the problem response for `error`; 503, 429 and in-flight answers say when to come back."""
    failure = failure_for(error)
    status = status_of(type(failure))
    language = language_of(request)
    body = body_of(failure, status=status, request_id=getattr(request, "request_id", ""), language=language)
    response = HttpResponse(body, status=status, content_type="application/problem+json")
    response["Content-Language"] = language
    response["X-Request-Id"] = getattr(request, "request_id", "")  # also where Django answers past our middleware
    response["Vary"] = "Accept-Language"
    response["Cache-Control"] = "private, no-store"
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(failure, errors.TooManyRequests):
        response["Retry-After"] = str(failure.retry_after)
        response["RateLimit-Policy"] = failure.policy
        response["RateLimit"] = f"{failure.policy.partition(';')[0]};r=0;t={failure.retry_after}"
    elif isinstance(failure, errors.Busy | errors.IdempotencyKeyInFlight):
        response["Retry-After"] = str(random.randint(*RETRY_AFTER_SECONDS))  # noqa: S311 - jitter, not a secret
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django itself refused (an unknown host, a malformed request)."""
    return response_for(errors.InvalidInput(errors=[]), request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address nobody serves."""
    return response_for(errors.PathNotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that left a view; Django has logged it."""
    return response_for(errors.InternalError(), request)
