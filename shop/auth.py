"""
The seam to djangorestframework-simplejwt: making and reading tokens happens here and nowhere else.

Access tokens are stateless (HS256, 15 minutes, less when the user's sessions end: `shop.revocations`); refresh tokens
rotate and the spent one is blacklisted. The acting user comes from the token alone.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from shop import db, revocations
from shop.errors import InvalidToken, NotAuthenticated
from shop.models import User

TOKEN_LIMIT_BYTES = 4_096
VERIFIED_LIMIT = 10_000  # tokens a process remembers to be good, about 1 kB each


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts, as the token says."""

    user_id: int
    is_staff: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature and claims were found good; `expires_at` in Unix seconds."""

    caller: Caller
    generation: int
    expires_at: float


_verified: dict[str, Verified] = {}


def access_token_for(
    *, user_id: int, is_staff: bool = False, generation: int = 0, lifetime: timedelta | None = None
) -> str:
    """Return an access token; `lifetime` is for seeded demo users and load tests."""
    token = AccessToken()
    token["user_id"] = user_id
    token["is_staff"] = is_staff
    token["generation"] = generation
    if lifetime is not None:
        token.set_exp(lifetime=lifetime)
    return str(token)


def tokens_for(user: User) -> dict[str, Any]:
    """Return a fresh pair of tokens; the refresh token is recorded so that it can be spent once."""
    refresh = RefreshToken.for_user(user)
    refresh["generation"] = user.token_generation
    access = access_token_for(user_id=user.pk, is_staff=user.is_staff, generation=user.token_generation)
    return {"access": access, "refresh": str(refresh), "user_id": user.pk}


def read_refresh(text: str) -> RefreshToken:
    """Return the refresh token in `text`, checked against the blacklist. Raises InvalidToken."""
    try:
        return RefreshToken(text)  # type: ignore[arg-type]  # annotated as a token, takes its text
    except TokenError as error:
        raise InvalidToken from error


def _bearer(request: HttpRequest) -> str:
    """Return the token of the `Authorization` header. Raises NotAuthenticated, InvalidToken."""
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if not header:
        raise NotAuthenticated
    scheme, _space, token = str(header).partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token or len(token) > TOKEN_LIMIT_BYTES:
        raise InvalidToken
    return token


class BearerToken(BaseAuthentication):
    """DRF's name for what `caller_of` does; views that need a token list it and the schema documents it."""

    def authenticate(self, request: Any) -> tuple[Any, Any] | None:
        return caller_of(request), None


def caller_of(request: HttpRequest) -> Caller:
    """
    Return who acts in this request.

    A good token is verified once in a process, which costs as much as all else here; what can change afterwards, its
    age and its user's sessions, is looked at each time. Raises NotAuthenticated, InvalidToken.
    """
    text = _bearer(request)
    token = _verified.get(text)
    if token is None:
        token = _verify(text)
        if len(_verified) >= VERIFIED_LIMIT:
            _verified.clear()  # in one step, so that no other thread sees it half done; the next requests fill it again
        _verified[text] = token
    if token.expires_at <= time.time() or token.generation < revocations.first_good_generation(token.caller.user_id):
        raise InvalidToken
    return token.caller


def _verify(text: str) -> Verified:
    """Check a token's signature and claims. Raises InvalidToken."""
    try:
        token = AccessToken(text)  # type: ignore[arg-type]  # annotated as a token, takes its text
        user_id = token["user_id"]
    except (TokenError, KeyError) as error:
        raise InvalidToken from error
    generation = token.payload.get("generation", 0)
    if type(user_id) is not int or not 0 < user_id < 2**63 or type(generation) is not int:
        raise InvalidToken
    caller = Caller(user_id=user_id, is_staff=token.payload.get("is_staff") is True)
    return Verified(caller=caller, generation=generation, expires_at=float(token["exp"]))


@db.transaction_required
def forget_spent_tokens(*, limit: int) -> int:
    """Forget so many refresh tokens whose time is over; return how many. Transaction: requires one."""
    return len(
        db.rows(
            """
            WITH due AS (
                SELECT id FROM token_blacklist_outstandingtoken WHERE expires_at <= clock_timestamp()
                ORDER BY id LIMIT %s
            ), spent AS (DELETE FROM token_blacklist_blacklistedtoken WHERE token_id IN (SELECT id FROM due))
            DELETE FROM token_blacklist_outstandingtoken WHERE id IN (SELECT id FROM due) RETURNING id
            """,
            [limit],
        )
    )


def spend(token: RefreshToken) -> None:
    """Blacklist a refresh token. Raises InvalidToken when it has been spent already."""
    # Annotated to return the entry alone; it returns what get_or_create does.
    _entry, is_new = cast("tuple[object, bool]", token.blacklist())
    if not is_new:
        raise InvalidToken
