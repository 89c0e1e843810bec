"""Signing in to the admin: name, password and, of who has one, a code; few wrong tries."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.forms import AuthenticationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from shop import accounts, throttle
from shop.backoffice import second_factor
from shop.errors import TooManyRequests


class LimitedLoginForm(AuthenticationForm):  # type: ignore[misc]  # the theme is not typed
    """
    Counts failed tries, a wrong code too: few of the admin's own, and together with the API's, so that a guesser gains
    nothing by using both doors.
    """

    code = forms.CharField(
        label=_("Code from the app, if you have one"),
        max_length=6,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs=second_factor.APP_ATTRIBUTES),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not second_factor.is_in_use():
            del self.fields["code"]

    def clean(self) -> dict[str, Any]:
        name = accounts.canonical_name(str(self.cleaned_data.get("username", ""))).casefold()
        try:
            with throttle.failures_of(throttle.ADMIN_LOGINS, name), throttle.failures_of(throttle.LOGINS, name):
                cleaned: dict[str, Any] = super().clean()
                self.check_code(cleaned.get("code", ""))
                return cleaned
        except TooManyRequests as refusal:
            text = gettext("Too many failed tries. Wait %(seconds)d s.") % {"seconds": refusal.retry_after}
            raise ValidationError(text) from refusal

    def check_code(self, code: str) -> None:
        """Refuse a missing or wrong code of a user who has a second factor, in the words for a wrong password."""
        user: Any = self.user_cache
        if user is None or not second_factor.is_in_use() or second_factor.find_device(user) is None:
            return
        device = second_factor.verified_device(user, code) if code else None  # forgetting it is no guess
        if device is None:
            raise self.get_invalid_login_error()
        user.otp_device = device  # django_otp keeps it in the session once Django has signed the user in
