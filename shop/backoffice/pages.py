"""The two kinds of model pages: those that may be edited, and those that only show what happened."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from shop.backoffice.lists import EstimatingPaginator, IndexedSearch
from shop.backoffice.refusals import EXPECTED, explain

Method = TypeVar("Method", bound=Callable[..., Any])


def column(
    title: Any, *, ordering: str | None = None, tones: Mapping[Any, str] | None = None
) -> Callable[[Method], Method]:
    """Name a computed column; with `tones` its pair (value, text) is shown as a coloured label. The theme's, typed."""
    decorate: Callable[[Method], Method] = display(description=title, ordering=ordering, label=tones)
    return decorate


def button(title: Any, *, permission: str, icon: str, dangerous: bool = False) -> Callable[[Method], Method]:
    """Make a method a button of the page; `has_<permission>_permission` says for whom. The theme's, typed."""
    variant = ActionVariant.DANGER if dangerous else ActionVariant.DEFAULT
    decorate: Callable[[Method], Method] = action(
        description=title, permissions=[permission], icon=icon, variant=variant
    )
    return decorate


def money(amount: int | None) -> str:
    """Write an amount of minor units with its currency."""
    return "-" if amount is None else f"{amount:,} {settings.SHOP_CURRENCY}"


def link(to: str, pk: int | None, text: str = "") -> str | SafeString:
    """Link to the page of one row by the name of its page, because a room may not import its neighbour's model."""
    if pk is None:
        return "-"
    url = reverse(f"admin:{to}_change", args=[pk])
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text or str(pk))


def table(headers: Sequence[Any], rows: Sequence[Sequence[Any]]) -> SafeString:
    """Show rows of another room on a page."""
    return render_to_string("admin/shop/table.html", {"headers": headers, "rows": rows})


def progress_bar(*, done: int, total: int) -> SafeString:
    """Show how much of something limited is gone."""
    percent = 100 * done // max(total, 1)
    return render_to_string("admin/shop/progress.html", {"figures": f"{done:,} / {total:,}", "percent": percent})


class ShopPage(IndexedSearch, ModelAdmin):  # type: ignore[misc]  # the theme is not typed
    """What all pages share. Nothing is deleted here: every table keeps what happened or is referred to by one."""

    icon: ClassVar[str] = "table_rows"  # in the side bar
    paginator: ClassVar[Any] = EstimatingPaginator
    show_full_result_count = False
    list_per_page = 50
    list_fullwidth = True
    list_filter_submit = True
    ordering: ClassVar[Any] = ("-pk",)
    compressed_fields = True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyPage(ShopPage):
    """Shows rows that only flows may write; also a superuser's POST is refused (403)."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyRows(TabularInline):  # type: ignore[misc]  # the theme is not typed
    """Shows the rows that belong to the one on the page."""

    extra = 0
    hide_title = True
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SavedByFlow(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """
    A page whose save is a flow. Comes after the page class, so that it stands right above Django's own.

    Django saves inside a transaction of its own, and a flow refuses to begin inside another.
    """

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """
        Let the form know what it has shown: `changed_data` is then what this operator changed.

        Without it Django compares with the row as it is when the form comes back, and what somebody else changed in
        between (a campaign closed, a price corrected) would count as changed back.
        """
        form = super().get_form(request, obj, change=change, **kwargs)
        for field in form.base_fields.values():
            field.show_hidden_initial = change
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        page: Any = self  # Django's page without the transaction around it; in no stub
        return self._refusable(request, lambda: page._changeform_view(request, object_id, form_url, extra_context))

    def _refusable(self, request: HttpRequest, save: Callable[[], HttpResponse]) -> HttpResponse:
        try:
            return save()
        except EXPECTED as error:  # for example: the last coupon went while the form was open
            if request.method != "POST":
                raise  # there is no form to go back to, this is the page itself
            messages.error(request, explain(error))
            return HttpResponseRedirect(request.get_full_path())
