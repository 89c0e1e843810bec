"""Users: signing up, getting tokens, refreshing them."""

import unicodedata
from datetime import datetime
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import F
from django.utils.translation import gettext_noop as _
from django_otp.plugins.otp_totp.models import TOTPDevice

from shop import auth, db, throttle, trail
from shop.errors import InvalidCredentials, InvalidToken, NotAllowed, UsernameTaken
from shop.inputs import Findings, Text
from shop.models import User
from shop.registry import on_signup
from shop.trail import Act

NAME = Text(1, 150)  # API.md "Accounts"; the column's width
# Django's validators word their refusal at once, in no particular language; ours is worded when it is told.
WEAKNESSES = {
    "password_too_similar": _("Must not resemble the user name."),
    "password_too_short": _("Must have at least %(min_length)s characters."),
    "password_too_common": _("Is too common."),
    "password_entirely_numeric": _("Must not have digits only."),
}


def canonical_name(username: str) -> str:
    """Return a user name as it is stored: NFKC, so that look-alike spellings are one name."""
    return unicodedata.normalize("NFKC", username).strip()


def sign_up(*, username: str, password: str, now: datetime) -> User:
    """
    Create a user with everything a user has (a wallet).

    An insert that fails would leave its statement, and in it the password's hash, in PostgreSQL's log: so a taken name
    makes it do nothing instead, and the salted hash tells whose row stands there now.

    Transaction: opens one; the password is hashed before it.
    Raises: InvalidInput, UsernameTaken.
    Source: API.md "Accounts".
    """
    user = User(username=canonical_name(username), date_joined=now)
    _check_credentials(user, password)
    user.set_password(password)
    with db.transaction():
        User.objects.bulk_create([user], ignore_conflicts=True)
        made = User.objects.filter(username=user.username, password=user.password).first()
        if made is None:
            raise UsernameTaken
        for welcome in on_signup:
            welcome(user_id=made.pk, now=now)
    return made


def _check_credentials(user: User, password: str) -> None:
    """Refuse a bad name or a weak password before anything is hashed. Raises InvalidInput."""
    found = Findings()
    NAME.read(user.username, "/username", found)  # again: its canonical form may be longer than what was sent
    try:
        User.username_validator(user.username)
    except ValidationError:
        found.add("/username", "bad_username", _("May have letters, digits and @ . + - _ only."))
    try:
        validate_password(password, user)
    except ValidationError as error:
        for weakness in error.error_list:
            code = weakness.code or "weak_password"
            found.add("/password", code, WEAKNESSES.get(code, _("Is too weak.")), **(weakness.params or {}))
    found.raise_if_any()


def obtain_tokens(*, username: str, password: str) -> dict[str, Any]:
    """
    Return a pair of tokens for a name and a password.

    Raises: InvalidCredentials, the same for a wrong password, an unknown name and a disabled user; TooManyRequests.
    """
    name = canonical_name(username)
    with throttle.failures_of(throttle.LOGINS, name.casefold()):
        user = authenticate(username=name, password=password)
        if user is None or not _reread_generation(user):
            raise InvalidCredentials
    return auth.tokens_for(user)


def _reread_generation(user: User) -> bool:
    """
    Take over the generation of the account as it was authenticated; say whether it still is that account.

    Authenticating may have stored the same password under a newer hash, which ends sessions like any new password.
    """
    unchanged = User.objects.filter(pk=user.pk, password=user.password, is_active=True)
    generation = unchanged.values_list("token_generation", flat=True).first()
    user.token_generation = generation or 0
    return generation is not None


def refresh_tokens(*, refresh: str) -> dict[str, Any]:
    """
    Spend a refresh token and return a new pair.

    Transaction: opens one.  Locks: the user, so that one token spent twice at once gives one pair.
    Raises: InvalidToken, also after a password change or for a disabled user.
    """
    token = auth.read_refresh(refresh)
    with db.transaction():
        user = _lock_active_user(token.payload.get("user_id"))
        if user is None or token.payload.get("generation") != user.token_generation:
            raise InvalidToken
        auth.spend(token)
        pair = auth.tokens_for(user)
    return {"access": pair["access"], "refresh": pair["refresh"]}


def _lock_active_user(user_id: Any) -> User | None:
    """Lock the user a token names. Transaction: requires one."""
    return User.objects.select_for_update(no_key=True).filter(pk=user_id, is_active=True).first()


def check_is_staff(*, user_id: int) -> None:
    """
    Refuse who is not staff at this moment, whatever their token says.

    Raises: NotAllowed.
    """
    if not User.objects.filter(pk=user_id, is_active=True, is_staff=True).exists():
        raise NotAllowed


def end_sessions(*, user_id: int) -> None:
    """
    Make every token of a user worthless: refresh tokens at once, access tokens within two seconds.

    A new password and the loss of the account or of staff rights do that by themselves (trigger `user_end_sessions`).
    """
    User.objects.filter(pk=user_id).update(token_generation=F("token_generation") + 1)


def sign_out_everywhere(*, user_id: int, reason: str, operator_id: int, now: datetime) -> None:
    """
    End a user's sessions by an operator's word, for example after the loss of a phone.

    Transaction: opens one.  Raises: NotAllowed.
    """
    with db.transaction():
        end_sessions(user_id=user_id)
        trail.record(Act("shop.sign_out", "shop.user", user_id, reason), operator_id=operator_id, now=now)


def remove_second_factor(*, user_id: int, reason: str, operator_id: int, now: datetime) -> None:
    """
    Let an operator who lost the second factor sign in without it, or set up a new one.

    Transaction: opens one.  Raises: NotAllowed.
    """
    with db.transaction():
        TOTPDevice.objects.filter(user_id=user_id).delete()
        trail.record(Act("shop.remove_second_factor", "shop.user", user_id, reason), operator_id=operator_id, now=now)
