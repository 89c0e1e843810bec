"""
The second factor: a code from an app (TOTP, RFC 6238), asked for in the login form; operators set it up themselves.

`SHOP_ADMIN_TOTP` says whether nobody, whoever has set one up, or everybody needs it. Whoever lost theirs asks an
operator who may edit them ("Remove second factor" on the user's page).
"""

from typing import Any

import django_otp
import segno
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import UnfoldAdminTextInputWidget

APP_ATTRIBUTES = {"inputmode": "numeric", "autocomplete": "one-time-code", "maxlength": "6"}


def is_in_use() -> bool:
    return bool(settings.ADMIN_TOTP != "off")


def find_device(user: Any) -> TOTPDevice | None:
    """Return the device a user has confirmed."""
    return TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).first()


def is_satisfied(request: HttpRequest) -> bool:
    """Say whether this session has the second factor it needs; asked several times a page, looked up once."""
    if not is_in_use() or request.user.is_verified():  # type: ignore[union-attr]  # added by OTPMiddleware
        return True
    noted: Any = request
    if not hasattr(noted, "second_factor_is_missing"):
        noted.second_factor_is_missing = settings.ADMIN_TOTP == "required" or find_device(request.user) is not None
    return not noted.second_factor_is_missing


def may_enrol(request: HttpRequest) -> bool:
    """Say whether this session may set a second factor up: nobody who only knows the password replaces one."""
    return is_in_use() and (request.user.is_verified() or find_device(request.user) is None)  # type: ignore[union-attr]  # added by OTPMiddleware


def verified_device(user: Any, code: str) -> TOTPDevice | None:
    """Return the user's device if the code is its code now; each code is good once, and wrong ones slow the device."""
    device = find_device(user)
    return django_otp.verify_token(user, device.persistent_id, code) if device else None


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code from the app"),
        max_length=6,
        widget=UnfoldAdminTextInputWidget(attrs=APP_ATTRIBUTES),
    )

    def __init__(self, device: TOTPDevice, *args: Any) -> None:
        super().__init__(*args)
        self.device = device

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if not django_otp.verify_token(self.device.user, self.device.persistent_id, code):
            raise forms.ValidationError(_("This is not the code the app shows now."))
        return code


def picture(device: TOTPDevice) -> SafeString:
    """Return the QR code to scan, as SVG."""
    svg = segno.make(device.config_url, error="m").svg_inline(scale=5, border=2, dark="#111", light="#fff")
    return mark_safe(svg)  # noqa: S308 - made here, of paths and numbers only


def enrolment_page(site: Any, request: HttpRequest) -> HttpResponse:
    """Show the key to scan and confirm it with a code; show and remove a device that is confirmed."""
    device = find_device(request.user) or _pending_device(request)
    form = CodeForm(device, request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _turned(request, device)
    context = {
        **site.each_context(request),
        "title": _("Second factor"),
        "form": form,
        "device": device,
        "picture": None if device.confirmed else picture(device),
        "secret": None if device.confirmed else _in_groups(device),
        "may_remove": settings.ADMIN_TOTP != "required",
    }
    return TemplateResponse(request, "admin/shop/second_factor.html", context)


def _pending_device(request: HttpRequest) -> TOTPDevice:
    """
    Return the device that waits for its first code; who asks for the page anew gets a new key.

    A key that stayed would belong to whoever saw it first, with a password that has been changed since.
    """
    pending = TOTPDevice.objects.filter(user=request.user, confirmed=False)
    newest = pending.order_by("-pk").first() if request.method == "POST" else None
    if newest is None:
        pending.delete()
        newest = TOTPDevice.objects.create(user=request.user, confirmed=False, name="app")
    return newest


def _turned(request: HttpRequest, device: TOTPDevice) -> HttpResponse:
    """Confirm a new device, or remove a confirmed one; either after a good code."""
    device.refresh_from_db()  # the code has been counted as used
    if not device.confirmed:
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        django_otp.login(request, device)
        messages.success(request, gettext("From now on you sign in with a code."))
    elif settings.ADMIN_TOTP != "required":
        device.delete()
        messages.success(request, gettext("You sign in without a code again."))
    return HttpResponseRedirect(reverse("admin:index"))


def _in_groups(device: TOTPDevice) -> str:
    """Write the key as apps want it typed: base 32, in groups of four."""
    secret = device.config_url.partition("secret=")[2].partition("&")[0]
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
