"""Signing in to the admin."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from unfold.forms import AuthenticationForm

from shop import accounts, throttle
from shop.errors import TooManyRequests


class LimitedLoginForm(AuthenticationForm):  # type: ignore[misc]  # the theme is not typed
    """Counts failed tries together with the API's, so that a guesser gains nothing by using both doors."""

    def clean(self) -> dict[str, Any]:
        name = accounts.canonical_name(str(self.cleaned_data.get("username", "")))
        try:
            with throttle.failures_of(throttle.LOGINS, name.casefold()):
                cleaned: dict[str, Any] = super().clean()
                return cleaned
        except TooManyRequests as refusal:
            text = gettext("Too many failed tries. Wait %(seconds)d s.") % {"seconds": refusal.retry_after}
            raise ValidationError(text) from refusal
