"""Operators' pages of the catalogue: products are edited, stock only moves by restocking and orders."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from catalog import flows
from catalog.models import DailySales, Product, Stock, StockMovement
from shop.backoffice.confirmations import Change, Confirmation, ReasonForm, confirm
from shop.backoffice.files import FilesPage, RowsFromFile
from shop.backoffice.overview import Card, limited, register_card
from shop.backoffice.pages import ReadOnlyPage, SavedByFlow, ShopPage, button, column, link, money

EDITED = ("sku", "name", "description", "category", "price", "image_url", "is_hidden")
MOST_PIECES = 1_000_000  # a slip of the finger, not a limit of the table


class RestockForm(ReasonForm):
    quantity = forms.IntegerField(
        label=_("Quantity"),
        help_text=_("Pieces to add; a negative number writes pieces off."),
        min_value=-MOST_PIECES,
        max_value=MOST_PIECES,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    field_order = ("quantity", "reason", "key")

    def clean_quantity(self) -> int:
        quantity: int = self.cleaned_data["quantity"]
        if quantity == 0:
            raise forms.ValidationError(_("No piece would move."))
        return quantity


def available(product: Product) -> int:
    """Return what is in stock; a product that was saved but not opened yet has none."""
    return product.stock.available if hasattr(product, "stock") else 0


def restock_changes(product: Product, data: dict[str, Any]) -> list[Change]:
    before = available(product)
    return [Change(_("available"), f"{before:,}", f"{before + data['quantity']:,}")]


def restock(product: Product, data: dict[str, Any], operator_id: int) -> None:
    flows.restock(
        product_id=product.pk,
        quantity=data["quantity"],
        reason=data["reason"],
        operator_id=operator_id,
        now=timezone.now(),
    )


RESTOCK = Confirmation(
    title=_("Restock"),
    about=_("Adds pieces to what orders may take, or writes pieces off."),
    form=RestockForm,
    changes=restock_changes,
    act=restock,
)


def save_product(product: Product, edited: Sequence[str] = EDITED) -> None:
    """Save a product, then let the flow give it its stock row; saving it again completes what broke off between."""
    if product.pk is None:
        product.created_at = product.created_at or timezone.now()
        product.save()
    else:
        product.save(update_fields=edited)  # the clock refreshes the popularity at the same time
    flows.open_product(product_id=product.pk)


class ProductRows(RowsFromFile):
    save_row = staticmethod(save_product)

    class Meta(RowsFromFile.Meta):
        model = Product
        import_id_fields = ("sku",)
        fields = EDITED

    def init_instance(self, row: Any = None) -> Product:
        return Product(created_at=timezone.now())


@admin.register(Product)
class ProductPage(ShopPage, SavedByFlow, FilesPage):
    icon = "inventory_2"
    resource_classes = (ProductRows,)
    list_display = ("id", "sku", "name", "category", "shown_price", "shown_stock", "is_hidden", "created_at")
    list_display_links = ("id", "sku", "name")
    list_select_related = ("stock",)
    list_filter = ("is_hidden",)
    fields = (*EDITED, "shown_stock", "popularity", "created_at")
    readonly_fields = ("shown_stock", "popularity", "created_at")
    search_words = ("sku",)
    search_help_text = _("A product's id or SKU, or a part of its name.")
    actions_detail = ("restock",)

    def conditions(self, term: str) -> Iterable[Q]:
        yield from super().conditions(term)
        yield Q(name__contains=term)  # LIKE, which reads the trigram index

    @column(_("price"), ordering="price")
    def shown_price(self, obj: Product) -> str:
        return money(obj.price)

    @column(_("stock"), ordering="stock__available")
    def shown_stock(self, obj: Product) -> str:
        return f"{available(obj):,}" if obj.pk else "0"

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        save_product(obj, form.changed_data)

    def has_restock_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """Nobody edits stock rows, so the permission to change them is the permission to restock."""
        return bool(request.user.has_perm("catalog.change_stock"))

    @button(_("Restock"), permission="restock", icon="add_shopping_cart")
    def restock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm(self, request, object_id, RESTOCK)


class SoldOutFilter(admin.SimpleListFilter):
    title = _("stock")
    parameter_name = "sold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("out", _("sold out"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stock]) -> QuerySet[Stock]:
        return queryset.filter(available=0, product__is_hidden=False) if self.value() == "out" else queryset


@admin.register(Stock)
class StockPage(ReadOnlyPage):
    icon = "warehouse"
    list_display = ("product", "available")
    list_select_related = ("product",)
    list_filter = (SoldOutFilter,)


@admin.register(StockMovement)
class StockMovementPage(ReadOnlyPage):
    icon = "sync_alt"
    list_display = ("id", "product", "kind", "delta", "order", "reason", "created_at")
    list_select_related = ("product",)
    list_filter = ("kind",)
    fields = ("product", "kind", "delta", "order", "reason", "created_at")
    readonly_fields = ("order",)
    search_numbers = ("pk", "order_id")
    search_words = ("product__sku",)
    search_help_text = _("A movement's or order's id, or a product's SKU.")

    @column(_("order"))
    def order(self, obj: StockMovement) -> str | SafeString:
        return link("orders_order", obj.order_id)


@admin.register(DailySales)
class DailySalesPage(ReadOnlyPage):
    icon = "monitoring"
    list_display = ("date", "product", "units", "shown_revenue")
    list_select_related = ("product",)
    search_words = ("product__sku",)
    search_numbers = ("pk", "product_id")

    @column(_("revenue"), ordering="revenue")
    def shown_revenue(self, obj: DailySales) -> str:
        return money(obj.revenue)


register_card(
    Card(
        title=_("sold-out products"),
        icon="remove_shopping_cart",
        figure=lambda now: limited(Stock.objects.filter(available=0, product__is_hidden=False)),
        list_name="catalog_stock",
        permission="catalog.view_stock",
        query="?sold=out",
    )
)
