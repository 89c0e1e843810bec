"""Operators' pages of orders: what was asked for, every step, what it took and gave back; the one action is cancel."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from balance import queries as balance_queries
from catalog import queries as catalog_queries
from orders import flows, queries
from orders.models import Order, OrderHistory, OrderLine
from orders.states import UNSETTLED, Status
from shop.backoffice.confirmations import Change, Confirmation, ReasonForm, confirm
from shop.backoffice.lists import find_user_ids
from shop.backoffice.overview import COUNTED_UP_TO, Card, at_most, limited, register_card, today_in_shop
from shop.backoffice.pages import ReadOnlyPage, ReadOnlyRows, button, column, link, money, table

SEARCHED_BACK = 1_000_000  # orders; searching them took 0.3 s on two cores, however long the table is
TONES = {
    Status.PENDING: "info",
    Status.STOCK_RESERVED: "info",
    Status.COUPON_APPLIED: "info",
    Status.PAID: "success",
    Status.FAILED: "danger",
    Status.CANCELLED: "warning",
}


class LineRows(ReadOnlyRows):
    model = OrderLine
    fields = ("product", "product_name", "shown_price", "quantity", "shown_sum")
    readonly_fields = ("shown_price", "shown_sum")

    @column(_("unit price"))
    def shown_price(self, obj: OrderLine) -> str:
        return money(obj.unit_price)

    @column(_("sum"))
    def shown_sum(self, obj: OrderLine) -> str:
        return money(obj.unit_price * obj.quantity)


class HistoryRows(ReadOnlyRows):
    model = OrderHistory
    fields = ("status", "at", "reason")
    ordering = ("pk",)


@admin.register(Order)
class OrderPage(ReadOnlyPage):
    icon = "receipt_long"
    list_display = ("id", "shown_status", "user", "shown_total", "request_id", "created_at", "settled_at")
    list_select_related = ("user",)
    list_filter = ("status",)
    search_owner = "user_id"
    search_help_text = _("An order's id, a recent request id, or a user's name.")
    fieldsets = (
        (None, {"fields": ("status", "user", "request_id", "created_at", "settled_at", "shown_failure")}),
        (_("Money"), {"fields": ("shown_subtotal", "shown_discount", "shown_total", "coupon")}),
        (_("What it took and gave back"), {"fields": ("movements", "transfers")}),
    )
    readonly_fields = (
        "shown_subtotal", "shown_discount", "shown_total",
        "coupon", "shown_failure", "movements", "transfers",
    )  # fmt: skip
    inlines = (LineRows, HistoryRows)
    actions_detail = ("cancel",)

    def conditions(self, term: str) -> Iterable[Q]:
        """A request id has no index: it is looked for among the newest orders, and not when the word is a name."""
        if term.isdigit() or find_user_ids(term):
            yield from super().conditions(term)
        else:
            newest = Order.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
            yield Q(request_id=term, pk__gt=newest - SEARCHED_BACK)

    @column(_("status"), tones=TONES, ordering="status")
    def shown_status(self, obj: Order) -> tuple[str, Any]:
        return obj.status, Status(obj.status).label

    @column(_("failure"))
    def shown_failure(self, obj: Order) -> str:
        return obj.failure_code or obj.refusal or "-"

    @column(_("subtotal"))
    def shown_subtotal(self, obj: Order) -> str:
        return money(obj.subtotal)

    @column(_("discount"))
    def shown_discount(self, obj: Order) -> str:
        return money(obj.discount)

    @column(_("total"))
    def shown_total(self, obj: Order) -> str:
        return money(obj.total)

    @column(_("coupon"))
    def coupon(self, obj: Order) -> str | SafeString:
        return link("coupons_issuance", obj.issuance_id)

    @column(_("stock movements"))
    def movements(self, obj: Order) -> SafeString:
        rows = [
            (link("catalog_stockmovement", it.pk), link("catalog_product", it.product_id), it.get_kind_display(),
             f"{it.delta:+,}", timezone.localtime(it.created_at))
            for it in catalog_queries.list_movements_of_order(order_id=obj.pk)
        ]  # fmt: skip
        return table((_("id"), _("product"), _("kind"), _("delta"), _("created at")), rows)

    @column(_("transfers"))
    def transfers(self, obj: Order) -> SafeString:
        rows = [
            (link("balance_transfer", it.pk), it.get_kind_display(), money(it.amount), money(it.balance_after),
             timezone.localtime(it.created_at))
            for it in balance_queries.list_transfers_of_order(order_id=obj.pk)
        ]  # fmt: skip
        return table((_("id"), _("kind"), _("amount"), _("balance after"), _("created at")), rows)

    def has_cancel_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """Nobody edits orders, so the permission to change them is the permission to cancel them."""
        return bool(request.user.has_perm("orders.change_order"))

    @button(_("Cancel order"), permission="cancel", icon="undo", dangerous=True)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, CANCELLATION)


@admin.register(OrderLine)
class OrderLinePage(ReadOnlyPage):
    icon = "format_list_bulleted"
    list_display = ("id", "order", "product_name", "shown_price", "quantity")
    list_select_related = ("order",)
    search_numbers = ("pk", "order_id")

    @column(_("unit price"))
    def shown_price(self, obj: OrderLine) -> str:
        return money(obj.unit_price)


@admin.register(OrderHistory)
class OrderHistoryPage(ReadOnlyPage):
    icon = "timeline"
    list_display = ("id", "order", "status", "at", "reason")
    list_select_related = ("order",)
    search_numbers = ("pk", "order_id")


def cancellation_changes(order: Order, data: dict[str, Any]) -> list[Change]:
    """Say what a cancellation gives back; the order's lines are its stock."""
    pieces = [
        Change(gettext("taken from stock: %s") % line.product_name, f"{line.quantity:,}", "0")
        for line in order.lines.all()
    ]
    coupon = [Change(_("coupon"), _("used"), _("usable again"))] if order.issuance_id else []
    return [
        Change(_("status"), Status(order.status).label, Status.CANCELLED.label),
        Change(_("paid"), money(order.total), money(0)),
        *pieces,
        *coupon,
    ]


def cancel(order: Order, data: dict[str, Any], operator_id: int) -> None:
    flows.cancel_order(
        order_id=order.pk,
        user_id=None,
        reason=data["reason"],
        key=None,
        operator_id=operator_id,
        now=timezone.now(),
    )


CANCELLATION = Confirmation(
    title=_("Cancel order"),
    about=_("Gives back money, stock and coupon in one transaction. Only a paid order can be cancelled."),
    form=ReasonForm,
    changes=cancellation_changes,
    act=cancel,
    dangerous=True,
)


def _card(title: Any, icon: str, figure: Callable[[datetime], str], query: str = "") -> Card:
    return Card(
        title=title, icon=icon, figure=figure, list_name="orders_order", permission="orders.view_order", query=query
    )


def _today(now: datetime) -> str:
    return at_most(queries.count_orders_since(since=today_in_shop(now), limit=COUNTED_UP_TO + 1))


register_card(_card(_("orders today"), "today", _today))
register_card(
    _card(_("unsettled orders"), "hourglass_top", lambda now: limited(Order.objects.filter(status__in=UNSETTLED)))
)
