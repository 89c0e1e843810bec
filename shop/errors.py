"""
The kinds of refusal every domain builds on, and the kernel's own. `shop.problems` alone knows their HTTP statuses.

A refusal is a class: `code` is stable and never translated, `title` and `detail` are translated where text is produced,
its dataclass fields are the facts a caller gets beside them.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from django.utils.translation import gettext_noop as _


@dataclass(eq=False, kw_only=True)
class Failure(Exception):
    """What all refusals share."""

    code: ClassVar[str]
    title: ClassVar[str]
    detail: ClassVar[str] = ""

    def facts(self) -> dict[str, Any]:
        """Return the fields the caller gets beside code and text."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        return f"{self.code} {self.facts()}"


class Invalid(Failure):
    """The request cannot be understood or breaks a stated limit; it changed nothing and is not remembered."""


class NotFound(Failure):
    """What the request names does not exist for this caller."""


class Refused(Failure):
    """The business says no, or the state has moved on."""


class Busy(Failure):
    """Contention, overload or a lost dependency: nothing happened, try again after `retry_after` seconds."""

    code = "busy"
    title = _("The shop is busy")
    detail = _("Nothing was changed. Try again shortly.")


class Overloaded(Busy):
    """A bounded queue is full."""

    code = "overloaded"
    title = _("Too many requests at this moment")
    detail = _("The shop refused this request to keep its promises to others. Try again shortly.")


class DependencyUnavailable(Busy):
    """The database or Redis did not answer in time."""

    code = "dependency_unavailable"
    title = _("A part of the shop does not answer")
    detail = _("Nothing was changed as far as the shop knows. Try again shortly.")


@dataclass(eq=False, kw_only=True)
class InvalidInput(Invalid):
    """One or more fields are missing, of the wrong type or out of range; `errors` names each."""

    code: ClassVar[str] = "invalid_input"
    title: ClassVar[str] = _("The input is not valid")
    detail: ClassVar[str] = _("See the list of errors.")
    errors: list[dict[str, Any]]


class UnknownField(InvalidInput):
    """The body has a field this request does not know; on money-moving requests that is refused, not ignored."""

    code = "unknown_field"
    title = _("The body has an unknown field")


class DuplicateItem(InvalidInput):
    """A list that must be distinct names the same thing twice."""

    code = "duplicate_item"
    title = _("The same item is listed twice")


class InvalidJson(Invalid):
    """The body is not a JSON document of UTF-8, or repeats a key, or nests too deeply."""

    code = "invalid_json"
    title = _("The body is not valid JSON")
    detail = _("Send one JSON object in UTF-8, without repeated keys.")


class InvalidCursor(Invalid):
    """The cursor was not made by this list."""

    code = "invalid_cursor"
    title = _("The cursor is not valid")
    detail = _("Use the cursor of a `next` or `previous` link as it is.")


class PageTooDeep(Invalid):
    """Numbered pages end at row 10,000; follow `next` instead."""

    code = "page_too_deep"
    title = _("The page is too deep")
    detail = _("Numbered pages end at row 10,000. Follow the `next` link instead.")


class PathNotFound(NotFound):
    """No such path."""

    code = "not_found"
    title = _("Not found")
    detail = _("There is nothing at this address.")


class NotAuthenticated(Failure):
    """The request needs an access token and has none."""

    code = "not_authenticated"
    title = _("A token is needed")
    detail = _("Send `Authorization: Bearer <access token>`.")


class InvalidToken(Failure):
    """The token is malformed, expired, revoked, of the wrong kind or signed by someone else."""

    code = "invalid_token"
    title = _("The token is not valid")
    detail = _("Get a new token at /auth/token or /auth/token/refresh.")


class InvalidCredentials(Failure):
    """No active user has this name and password; deliberately the same for each cause."""

    code = "invalid_credentials"
    title = _("The name or the password is wrong")
    detail = _("Check both and try again.")


class NotYourAccount(Failure):
    """The account belongs to somebody else or does not exist; which of the two is not told."""

    code = "not_your_account"
    title = _("This is not your account")
    detail = _("Only its owner and staff may do this.")


class NotAllowed(Failure):
    """The caller lacks the permission for this."""

    code = "not_allowed"
    title = _("Not allowed")
    detail = _("This needs a permission you do not have.")


class MethodNotAllowed(Failure):
    """The address exists and does not know this method."""

    code = "method_not_allowed"
    title = _("This method is not allowed here")
    detail = _("See the `Allow` header.")


class BodyTooLarge(Failure):
    """The body is larger than 64 KiB."""

    code = "body_too_large"
    title = _("The body is too large")
    detail = _("At most 65,536 bytes are read.")


class UnsupportedMediaType(Failure):
    """The body is not uncompressed UTF-8 `application/json`."""

    code = "unsupported_media_type"
    title = _("Only JSON is understood")
    detail = _("Send `Content-Type: application/json` in UTF-8, not compressed.")


@dataclass(eq=False, kw_only=True)
class TooManyRequests(Failure):
    """The caller is over its limit; `retry_after` is in seconds, `policy` goes into the `RateLimit-Policy` header."""

    code: ClassVar[str] = "too_many_requests"
    title: ClassVar[str] = _("Too many requests from you")
    detail: ClassVar[str] = _("Wait as long as `Retry-After` says.")
    retry_after: int
    policy: str = ""

    def facts(self) -> dict[str, Any]:
        return {"retry_after": self.retry_after}


class IdempotencyKeyReused(Failure):
    """The same idempotency key came with another request."""

    code = "idempotency_key_reused"
    title = _("The idempotency key belongs to another request")
    detail = _("Use a new key for a new request.")


class IdempotencyKeyInFlight(Failure):
    """The first request with this key is still running."""

    code = "idempotency_key_in_flight"
    title = _("The first request with this key is still running")
    detail = _("Repeat it shortly to get its answer.")


class UsernameTaken(Refused):
    """Somebody has this name already, perhaps in other case."""

    code = "username_taken"
    title = _("This name is taken")
    detail = _("Choose another name.")


class UserNotFound(NotFound):
    """No such user; told to staff only."""

    code = "user_not_found"
    title = _("No such user")
    detail = _("There is no user with this id.")


class InternalError(Failure):
    """A fault of the shop itself; it is logged with the request id."""

    code = "internal_error"
    title = _("The shop failed")
    detail = _("This is our fault and has been recorded. The request id helps us find it.")
