"""
Actions that move money, stock or an offer: a page that shows before and after and asks for a reason, then one flow.

What needs input besides the reason is shown once more before it is done, because its "after" depends on the input.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from shop import db
from shop.backoffice.refusals import EXPECTED, explain


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the table "before and after"."""

    what: Any
    before: Any
    after: Any


class ReasonForm(forms.Form):
    """
    Why it is done; kept with the effect and in the object's history.

    `key` is made when the page is first shown and comes back with it: a button pressed twice acts once.
    """

    reason = forms.CharField(label=_("Reason"), max_length=200, widget=UnfoldAdminTextInputWidget())
    key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def asks_more(self) -> bool:
        """Say whether there is input besides the reason."""
        return len(self.fields) > 2


@dataclass(frozen=True, slots=True)
class Confirmation:
    """
    What one action asks and does.

    `changes` returns the table for an object and the checked input (empty when the form is first shown); `act` calls
    the flow with the same two and the operator's id, and the flow writes the act down (`shop.trail`).
    """

    title: Any
    about: Any
    form: type[ReasonForm]
    changes: Callable[[Any, dict[str, Any]], Sequence[Change]]
    act: Callable[[Any, dict[str, Any], int], None]
    dangerous: bool = False


def confirm(page: ModelAdmin, request: HttpRequest, object_id: str, confirmation: Confirmation) -> HttpResponse:
    """Show the form; with valid input show before and after; confirmed, call the flow and write it into the history."""
    obj = page.get_object(request, unquote(object_id))
    if obj is None:
        raise Http404
    form = confirmation.form(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        data: dict[str, Any] | None = None if form.asks_more() else {}
        return _shown(page, request, obj, confirmation, form, data)
    if form.asks_more() and "confirmed" not in request.POST:
        return _shown(page, request, obj, confirmation, form, form.cleaned_data)
    return _carried_out(page, request, obj, confirmation, form.cleaned_data)


def _shown(
    page: ModelAdmin,
    request: HttpRequest,
    obj: Any,
    confirmation: Confirmation,
    form: ReasonForm,
    data: dict[str, Any] | None,
) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "original": obj,
        "title": confirmation.title,
        "confirmation": confirmation,
        "form": form,
        "reviewed": bool(data),
        "changes": [] if data is None else confirmation.changes(obj, data),
        "back": _address(page, obj),
    }
    return TemplateResponse(request, "admin/shop/confirmation.html", context)


def _carried_out(
    page: ModelAdmin, request: HttpRequest, obj: Any, confirmation: Confirmation, data: dict[str, Any]
) -> HttpResponse:
    title = str(confirmation.title)
    operator_id = int(request.user.pk)  # type: ignore[arg-type]  # whoever got here is signed in
    if not _claimed(page, operator_id, obj, data):
        messages.warning(request, gettext("This was already sent once; it is not done again: %s") % title)
        return HttpResponseRedirect(_address(page, obj))
    try:
        confirmation.act(obj, data, operator_id)
    except EXPECTED as error:
        messages.error(request, explain(error))
    else:
        # For the object's own history page, after the flow has committed: a process that dies between the two loses
        # this line, but not the flow's row in the trail.
        page.log_change(request, obj, f"{title}: {data['reason']}")
        messages.success(request, gettext("Done: %s") % title)
    return HttpResponseRedirect(_address(page, obj))


def _claimed(page: ModelAdmin, user_id: int, obj: Any, data: dict[str, Any]) -> bool:
    """
    Use the page's key up, before the flow: at most once, and a person sees on the page whether it happened.

    A second press waits for this statement only if it comes within it, then finds the key used.
    """
    claimed = db.rows(
        """
        INSERT INTO shop_idempotencyrecord (user_id, route, key, fingerprint, status, answer, created_at)
        VALUES (%s, %s, %s, '', 0, jsonb_build_object('object', %s::text, 'reason', %s::text), %s)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        [user_id, f"admin/{page.opts.label_lower}", str(data["key"]), str(obj.pk), data["reason"], timezone.now()],
    )
    return bool(claimed)


def _address(page: ModelAdmin, obj: Any) -> str:
    return reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_change", args=[obj.pk])
