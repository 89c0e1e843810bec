"""Operators' pages of the kernel: people, groups, remembered answers, stages, work set aside, what operators did."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from shop import accounts, pipeline, registry
from shop.backoffice import second_factor
from shop.backoffice.confirmations import Confirmation, ReasonForm, confirm
from shop.backoffice.overview import Card, limited, register_card
from shop.backoffice.pages import ReadOnlyPage, ShopPage, button, column, link, money
from shop.backoffice.refusals import EXPECTED, explain
from shop.models import IdempotencyRecord, OperatorAction, ParkedItem, StageRun, User

admin.site.unregister(Group)
# A refresh token and the key of a second factor are credentials: nobody gets to read them.
admin.site.unregister([OutstandingToken, BlacklistedToken, TOTPDevice])


@admin.register(User)
class UserPage(ShopPage, UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    icon = "person"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "id", "is_active", "is_staff", "is_superuser", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("pk",)
    search_owner = "pk"
    ordering = ("-pk",)
    readonly_fields = ("last_login", "date_joined", "sessions_ended_at")
    add_fieldsets = UserAdmin.add_fieldsets
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "email")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Sessions"), {"fields": ("last_login", "date_joined", "sessions_ended_at")}),
    )
    actions_detail = ("sign_out", "remove_second_factor")
    grants = ("is_staff", "is_superuser", "groups", "user_permissions")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only a superuser hands out rights, or whoever may edit users could give themselves all of them."""
        return self.readonly_fields if request.user.is_superuser else (*self.readonly_fields, *self.grants)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only a superuser edits staff: a new password would be a way into their account."""
        out_of_reach = obj is not None and obj.is_staff and not request.user.is_superuser
        return not out_of_reach and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save inside the transaction that Django's own page has opened; a new user gets all that a user has."""
        super().save_model(request, obj, form, change)
        if not change:
            for welcome in registry.on_signup:
                welcome(user_id=obj.pk, now=obj.date_joined)

    def has_sign_out_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whoever may edit this user may end what the user has begun."""
        obj = self.get_object(request, str(object_id)) if object_id is not None else None
        return self.has_change_permission(request, obj)

    @button(_("Sign out everywhere"), permission="sign_out", icon="logout")
    def sign_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, SIGN_OUT)

    def has_remove_second_factor_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Customers have none; of operators it needs whoever may edit operators."""
        obj = self.get_object(request, str(object_id)) if object_id is not None else None
        return request.user.is_superuser and second_factor.is_in_use() and (obj is None or obj.is_staff)

    @button(_("Remove second factor"), permission="remove_second_factor", icon="phonelink_erase", dangerous=True)
    def remove_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, REMOVAL)


def sign_out(user: User, data: dict[str, Any], operator_id: int) -> None:
    accounts.sign_out_everywhere(user_id=user.pk, reason=data["reason"], operator_id=operator_id, now=timezone.now())


def remove_second_factor(user: User, data: dict[str, Any], operator_id: int) -> None:
    accounts.remove_second_factor(user_id=user.pk, reason=data["reason"], operator_id=operator_id, now=timezone.now())


SIGN_OUT = Confirmation(
    title=_("Sign out everywhere"),
    about=_("Every token and refresh token of this user ends within two seconds; the password stays."),
    form=ReasonForm,
    changes=lambda user, data: [],
    act=sign_out,
)
REMOVAL = Confirmation(
    title=_("Remove second factor"),
    about=_("The user signs in with the password alone until a new second factor is set up."),
    form=ReasonForm,
    changes=lambda user, data: [],
    act=remove_second_factor,
    dangerous=True,
)


@admin.register(Group)
class GroupPage(ShopPage, GroupAdmin):
    icon = "group"
    search_fields = ("pk",)
    search_words = ("name",)
    ordering = ("name",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return GroupAdmin.has_delete_permission(self, request, obj)


@admin.register(IdempotencyRecord)
class IdempotencyRecordPage(ReadOnlyPage):
    icon = "key"
    list_display = ("id", "user", "route", "key", "status", "created_at")
    fields = ("user", "route", "key", "shown_fingerprint", "status", "answer", "created_at")
    readonly_fields = ("user", "shown_fingerprint")
    search_owner = "user_id"

    @column(_("user"))
    def user(self, obj: IdempotencyRecord) -> str:
        return link("shop_user", obj.user_id)

    @column(_("fingerprint"))
    def shown_fingerprint(self, obj: IdempotencyRecord) -> str:
        return bytes(obj.fingerprint).hex()


@admin.register(StageRun)
class StageRunPage(ReadOnlyPage):
    icon = "conveyor_belt"
    list_display = ("stage", "is_running", "size", "crashes", "began_at")
    ordering = ("stage",)
    search_numbers = ()
    search_words = ("stage",)


@admin.register(ParkedItem)
class ParkedItemPage(ReadOnlyPage):
    icon = "local_parking"
    list_display = ("id", "stage", "item_id", "attempts", "shown_error", "parked_until", "updated_at")
    list_filter = ("stage",)
    search_numbers = ("pk", "item_id")
    search_words = ("stage",)
    actions = ("retry",)

    @column(_("last error"))
    def shown_error(self, obj: ParkedItem) -> str:
        return obj.last_error[:120]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Nobody edits parked items, so the permission to change them is the permission to retry them."""
        return bool(request.user.has_perm("shop.change_parkeditem"))

    @admin.action(description=_("Retry now"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[ParkedItem]) -> None:
        items = list(queryset[:RETRIED_AT_ONCE])
        try:
            pipeline.retry_parked(parked_ids=[item.pk for item in items])
        except EXPECTED as error:
            messages.error(request, explain(error))
            return
        LogEntry.objects.log_actions(
            str(request.user.pk), items, action_flag=CHANGE, change_message=gettext("Retried by an operator.")
        )
        text = ngettext("%(count)d item will be tried again.", "%(count)d items will be tried again.", len(items))
        messages.success(request, text % {"count": len(items)})


RETRIED_AT_ONCE = 1_000  # each gets a line of history, and the request has 3 s


@admin.register(OperatorAction)
class OperatorActionPage(ReadOnlyPage):
    icon = "gavel"
    list_display = ("created_at", "operator", "action", "object", "shown_amount", "reason")
    list_filter = ("action",)
    fields = ("created_at", "operator", "action", "object", "shown_amount", "reason", "details")
    readonly_fields = ("operator", "object", "shown_amount")
    search_numbers = ("pk", "object_id")
    search_owner = "operator_id"

    @column(_("operator"))
    def operator(self, obj: OperatorAction) -> str:
        return link("shop_user", obj.operator_id, obj.operator_name)

    @column(_("object"))
    def object(self, obj: OperatorAction) -> str:
        return link(obj.object_type.replace(".", "_"), obj.object_id, f"{obj.object_type} {obj.object_id}")

    @column(_("amount"))
    def shown_amount(self, obj: OperatorAction) -> str:
        return money(obj.amount)


@admin.register(LogEntry)
class LogEntryPage(ReadOnlyPage):
    icon = "history"
    list_display = ("action_time", "user", "content_type", "object_repr", "shown_message")
    list_select_related = ("user", "content_type")
    fields = ("action_time", "user", "content_type", "object_id", "object_repr", "shown_message")
    readonly_fields = ("shown_message",)
    search_owner = "user_id"

    @column(_("what and why"))
    def shown_message(self, obj: LogEntry) -> str:
        return str(obj.get_change_message())


register_card(
    Card(
        title=_("parked items"),
        icon="local_parking",
        figure=lambda now: limited(ParkedItem.objects.all()),
        list_name="shop_parkeditem",
        permission="shop.view_parkeditem",
    )
)
