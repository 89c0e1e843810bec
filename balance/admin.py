"""Operators' pages of the ledger: everything is shown, nothing is edited; an adjustment is one more transfer."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from balance import flows
from balance.models import Account, Transfer, TransferKind, Wallet
from shop.backoffice.confirmations import Change, Confirmation, ReasonForm, confirm
from shop.backoffice.lists import find_user_ids
from shop.backoffice.pages import ReadOnlyPage, button, column, link, money

LARGEST_ADJUSTMENT = 1_000_000_000  # the wallet's limit (API.md "Balance")


class AdjustmentForm(ReasonForm):
    amount = forms.IntegerField(
        label=_("Amount"),
        help_text=_("In the currency's minor unit; a negative amount takes money out of the wallet."),
        min_value=-LARGEST_ADJUSTMENT,
        max_value=LARGEST_ADJUSTMENT,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    field_order = ("amount", "reason", "key")

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if amount == 0:
            raise forms.ValidationError(_("An adjustment of nothing is none."))
        return amount


def adjustment_changes(wallet: Wallet, data: dict[str, Any]) -> list[Change]:
    return [Change(_("balance"), money(wallet.balance), money(wallet.balance + data["amount"]))]


def adjust(wallet: Wallet, data: dict[str, Any], operator_id: int) -> None:
    flows.adjust_balance(
        user_id=wallet.user_id,
        amount=data["amount"],
        reason=data["reason"],
        operator_id=operator_id,
        now=timezone.now(),
    )


ADJUSTMENT = Confirmation(
    title=_("Adjust balance"),
    about=_("Books one more transfer between this wallet and the house. It cannot be edited afterwards."),
    form=AdjustmentForm,
    changes=adjustment_changes,
    act=adjust,
    dangerous=True,
)


@admin.register(Wallet)
class WalletPage(ReadOnlyPage):
    icon = "account_balance_wallet"
    list_display = ("user", "shown_balance", "updated_at")
    list_select_related = ("user",)
    fields = ("account", "user", "shown_balance", "updated_at")
    readonly_fields = ("shown_balance",)
    search_owner = "user_id"
    actions_detail = ("adjust",)

    @column(_("balance"), ordering="balance")
    def shown_balance(self, obj: Wallet) -> str:
        return money(obj.balance)

    def has_adjust_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """Nobody edits wallets, so the permission to change them is the permission to adjust them."""
        return bool(request.user.has_perm("balance.change_wallet"))

    @button(_("Adjust balance"), permission="adjust", icon="tune", dangerous=True)
    def adjust(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, ADJUSTMENT)


@admin.register(Transfer)
class TransferPage(ReadOnlyPage):
    icon = "swap_horiz"
    list_display = (
        "id", "kind", "shown_amount", "debit_account", "credit_account", "shown_after", "order", "created_at"
    )  # fmt: skip
    list_select_related = ("debit_account", "credit_account")
    list_filter = ("kind",)
    fields = (
        "kind", "reference", "debit_account", "credit_account", "shown_amount", "shown_after",
        "order", "reason", "created_at",
    )  # fmt: skip
    readonly_fields = ("shown_amount", "shown_after", "order")
    search_help_text = _("A transfer's id or reference, or a user's name.")

    def conditions(self, term: str) -> Iterable[Q]:
        """Yield what stays on the three indexes; their conditions on `kind` are repeated, or PostgreSQL skips them."""
        yield from super().conditions(term)
        yield Q(kind__in=TransferKind.values, reference=term)  # an order's id is its payment's and refund's reference
        accounts = list(Wallet.objects.filter(user_id__in=find_user_ids(term)).values_list("pk", flat=True))
        yield Q(kind__in=["payment", "adjustment"], debit_account__in=accounts)
        yield Q(kind__in=["charge", "refund", "adjustment"], credit_account__in=accounts)

    @column(_("amount"))
    def shown_amount(self, obj: Transfer) -> str:
        return money(obj.amount)

    @column(_("balance after"))
    def shown_after(self, obj: Transfer) -> str:
        return money(obj.balance_after)

    @column(_("order"))
    def order(self, obj: Transfer) -> str:
        return link("orders_order", obj.order_id)


@admin.register(Account)
class AccountPage(ReadOnlyPage):
    icon = "account_balance"
    list_display = ("id", "kind")
