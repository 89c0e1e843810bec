"""Operators' pages of coupons: campaigns are edited until somebody has one, issuances are only shown."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from coupons import flows
from coupons.errors import QuantityTooLow, TermsFrozen
from coupons.models import Campaign, DiscountType, Issuance
from coupons.states import Status
from shop.backoffice.confirmations import Change, Confirmation, ReasonForm, confirm
from shop.backoffice.files import FilesPage, RowsFromFile
from shop.backoffice.overview import Card, limited, register_card
from shop.backoffice.pages import ReadOnlyPage, SavedByFlow, ShopPage, button, column, link, money, progress_bar

TERMS = (*flows.FROZEN_TERMS, "valid_days")
EDITED = ("name", *TERMS, "total_quantity", "opens_at", "closes_at")
TONES = {Status.ISSUED: "info", Status.USED: "success", Status.EXPIRED: "warning", Status.REJECTED: "danger"}


class CampaignForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Says in the form what the table's constraints would refuse."""

    class Meta:
        model = Campaign
        fields = EDITED

    def clean_total_quantity(self) -> int:
        total: int = self.cleaned_data["total_quantity"]
        if total < self.instance.issued:
            raise ValidationError(_("%(issued)d are issued already.") % {"issued": self.instance.issued})
        return total

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        opens_at, closes_at = data.get("opens_at"), data.get("closes_at")
        if opens_at and closes_at and opens_at >= closes_at:
            self.add_error("closes_at", _("A campaign closes after it opens."))
        if data.get("discount_type") == DiscountType.PERCENT and not 1 <= data.get("discount_value", 1) <= 100:
            self.add_error("discount_value", _("Between 1 and 100 per cent."))
        return data


def closing_changes(campaign: Campaign, data: dict[str, Any]) -> list[Change]:
    now = timezone.localtime().replace(microsecond=0)
    closes_at = timezone.localtime(campaign.closes_at)
    return [Change(_("closes at"), closes_at, now if now < closes_at else closes_at)]


def close(campaign: Campaign, data: dict[str, Any], operator_id: int) -> None:
    flows.close_campaign(campaign_id=campaign.pk, reason=data["reason"], operator_id=operator_id, now=timezone.now())


CLOSING = Confirmation(
    title=_("Close now"),
    about=_("Nobody gets a coupon of this campaign any more; coupons that are issued stay good."),
    form=ReasonForm,
    changes=closing_changes,
    act=close,
    dangerous=True,
)


def save_row(campaign: Campaign) -> None:
    campaign.pk = flows.save_campaign(
        campaign_id=campaign.pk, values={name: getattr(campaign, name) for name in EDITED}
    )


class CampaignRows(RowsFromFile):
    save_row = staticmethod(save_row)

    class Meta(RowsFromFile.Meta):
        model = Campaign
        import_id_fields = ("id",)
        fields = ("id", *EDITED)

    def before_save_instance(self, instance: Campaign, row: Any, **kwargs: Any) -> None:
        """Show in the preview what the flow would refuse."""
        if instance.pk is None:
            return
        stored = Campaign.objects.filter(pk=instance.pk).first()
        if stored is None:
            raise ValidationError(_("No campaign has this id; a new one has none yet."))
        if stored.issued and any(getattr(stored, name) != getattr(instance, name) for name in flows.FROZEN_TERMS):
            raise ValidationError(gettext(TermsFrozen.detail))
        if stored.issued > instance.total_quantity:
            raise ValidationError(gettext(QuantityTooLow.detail))


class OpenFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("upcoming", _("upcoming")), ("closed", _("closed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Campaign]) -> QuerySet[Campaign]:
        now = timezone.now()
        if self.value() == "open":
            return open_campaigns(queryset, now)
        if self.value() == "upcoming":
            return queryset.filter(opens_at__gt=now)
        return queryset.filter(closes_at__lte=now) if self.value() == "closed" else queryset


def open_campaigns(queryset: QuerySet[Campaign], now: datetime) -> QuerySet[Campaign]:
    return queryset.filter(opens_at__lte=now, closes_at__gt=now)


@admin.register(Campaign)
class CampaignPage(ShopPage, SavedByFlow, FilesPage):
    icon = "confirmation_number"
    form = CampaignForm
    resource_classes = (CampaignRows,)
    list_display = ("id", "name", "state", "offer", "progress", "opens_at", "closes_at")
    list_display_links = ("id", "name")
    list_filter = (OpenFilter,)
    fieldsets = (
        (None, {"fields": ("name", "progress", "total_quantity", "opens_at", "closes_at")}),
        (_("Discount terms"), {"fields": TERMS, "description": _("Frozen once somebody holds a coupon.")}),
    )
    readonly_fields = ("progress",)
    search_help_text = _("A campaign's id, or a part of its name.")
    actions_detail = ("close",)

    def conditions(self, term: str) -> Iterable[Q]:
        yield from super().conditions(term)
        yield Q(name__icontains=term)  # campaigns are few

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *flows.FROZEN_TERMS) if obj is not None and obj.issued else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Campaign, form: Any, change: bool) -> None:
        """Hand over only what was edited, so that two operators' changes of different fields both last."""
        edited = form.changed_data if change else EDITED
        obj.pk = flows.save_campaign(campaign_id=obj.pk, values={name: getattr(obj, name) for name in edited})

    @column(_("state"), tones={"open": "success", "upcoming": "info", "sold_out": "warning"})
    def state(self, obj: Campaign) -> tuple[str, Any]:
        now = timezone.now()
        if obj.closes_at <= now:
            return "closed", _("closed")
        if obj.opens_at > now:
            return "upcoming", _("upcoming")
        return ("sold_out", _("sold out")) if obj.issued >= obj.total_quantity else ("open", _("open"))

    @column(_("offer"))
    def offer(self, obj: Campaign) -> str:
        return f"{obj.discount_value} %" if obj.discount_type == DiscountType.PERCENT else money(obj.discount_value)

    @column(_("issued"), ordering="issued")
    def progress(self, obj: Campaign) -> str | SafeString:
        if obj.pk is None:
            return "-"
        return progress_bar(done=obj.issued, total=obj.total_quantity)

    def has_close_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("coupons.change_campaign"))

    @button(_("Close now"), permission="close", icon="block", dangerous=True)
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, CLOSING)


@admin.register(Issuance)
class IssuancePage(ReadOnlyPage):
    icon = "redeem"
    list_display = ("id", "campaign", "user", "position", "shown_status", "issued_at", "expires_at", "order")
    list_select_related = ("campaign", "user")
    list_filter = ("status",)
    fields = (
        "campaign", "user", "position", "status", "issued_at", "expires_at", "used_at", "order"
    )  # fmt: skip
    readonly_fields = ("order",)
    search_owner = "user_id"
    search_help_text = _("An issuance's id, or a user's name.")

    @column(_("status"), tones=TONES, ordering="status")
    def shown_status(self, obj: Issuance) -> tuple[str, Any]:
        return obj.status, Status(obj.status).label

    @column(_("order"))
    def order(self, obj: Issuance) -> str | SafeString:
        return link("orders_order", obj.order_id)


register_card(
    Card(
        title=_("open campaigns"),
        icon="confirmation_number",
        figure=lambda now: limited(open_campaigns(Campaign.objects.all(), now)),
        list_name="coupons_campaign",
        permission="coupons.view_campaign",
        query="?state=open",
    )
)
