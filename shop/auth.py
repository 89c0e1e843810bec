"""
The seam to djangorestframework-simplejwt: making and reading tokens happens here and nowhere else.

Access tokens are stateless (HS256, 15 minutes); refresh tokens rotate and the spent one is blacklisted. The acting user
comes from the token alone.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from shop.errors import InvalidToken, NotAuthenticated
from shop.models import User

TOKEN_LIMIT_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts, as the token says."""

    user_id: int
    is_staff: bool


def access_token_for(*, user_id: int, is_staff: bool = False, lifetime: timedelta | None = None) -> str:
    """Return an access token; `lifetime` is for seeded demo users and load tests."""
    token = AccessToken()
    token["user_id"] = user_id
    token["is_staff"] = is_staff
    if lifetime is not None:
        token.set_exp(lifetime=lifetime)
    return str(token)


def tokens_for(user: User) -> dict[str, Any]:
    """Return a fresh pair of tokens; the refresh token is recorded so that it can be spent once."""
    refresh = RefreshToken.for_user(user)
    refresh["generation"] = user.token_generation
    access = access_token_for(user_id=user.pk, is_staff=user.is_staff)
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
    """Return who acts in this request. Raises NotAuthenticated, InvalidToken."""
    try:
        token = AccessToken(_bearer(request))  # type: ignore[arg-type]  # annotated as a token, takes its text
        user_id = token["user_id"]
    except (TokenError, KeyError) as error:
        raise InvalidToken from error
    if type(user_id) is not int or not 0 < user_id < 2**63:
        raise InvalidToken
    return Caller(user_id=user_id, is_staff=token.payload.get("is_staff") is True)


def spend(token: RefreshToken) -> None:
    """Blacklist a refresh token. Raises InvalidToken when it has been spent already."""
    # Annotated to return the entry alone; it returns what get_or_create does.
    _entry, is_new = cast("tuple[object, bool]", token.blacklist())
    if not is_new:
        raise InvalidToken
