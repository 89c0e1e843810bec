"""Import and export as CSV: a preview with the bad rows in red, then each row is saved by the page's own flow."""

from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from import_export.admin import ImportExportModelAdmin
from import_export.formats.base_formats import CSV
from import_export.resources import ModelResource
from import_export.results import Result
from import_export.tmp_storages import CacheStorage
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from shop.backoffice.refusals import EXPECTED, explain
from shop.reports import FORMULA

MOST_ROWS = 2_000  # about five statements a row, while the operator's browser waits


class RowsFromFile(ModelResource):  # type: ignore[misc]  # not typed
    """Checks each row like the page's form would, and saves it by the flow in `save_row`."""

    save_row: ClassVar[Any]  # a static function that takes the row's instance

    class Meta:
        abstract = True
        clean_model_instances = True
        use_transactions = False  # a flow opens its own
        skip_unchanged = True
        report_skipped = True

    def before_import(self, dataset: Any, **kwargs: Any) -> None:
        if len(dataset) > MOST_ROWS:
            raise ValidationError(gettext("A file may have %d rows at most.") % MOST_ROWS)

    def before_import_row(self, row: Any, **kwargs: Any) -> None:
        """Take off what the export put before a formula: who edits a file and sends it back changes nothing else."""
        for name, cell in row.items():
            if isinstance(cell, str) and cell.startswith("'") and would_run(cell):
                row[name] = cell[1:]

    def save_instance(self, instance: Any, is_create: bool, row: Any, **kwargs: Any) -> None:
        """Save nothing for the preview: it runs in a transaction that is rolled back, and a flow refuses to nest."""
        if kwargs.get("dry_run"):
            self.before_save_instance(instance, row, **kwargs)
        else:
            super().save_instance(instance, is_create, row, **kwargs)

    def do_instance_save(self, instance: Any, is_create: bool) -> None:
        try:
            type(self).save_row(instance)
        except EXPECTED as error:
            raise ValidationError(explain(error)) from error


class PlainCSV(CSV):  # type: ignore[misc]  # not typed
    """CSV whose text stays text where a spreadsheet opens it."""

    def _escape_formulae(self, dataset: Any) -> None:
        for _row in range(len(dataset)):
            cells = [str(cell) for cell in dataset.lpop()]
            dataset.append([f"'{cell}" if would_run(cell) else cell for cell in cells])


def would_run(cell: str) -> bool:
    """Say whether a cell is a formula, or one in quotes: then one quote more goes out, and comes off again."""
    text = cell.lstrip("'")
    return text.startswith(FORMULA) and not text.removeprefix("-").isdecimal()


class FilesPage(ImportExportModelAdmin):  # type: ignore[misc]  # not typed
    """A page with import and export. Comes after the page class."""

    import_form_class = ImportForm
    export_form_class = ExportForm
    formats: ClassVar[list[type]] = [PlainCSV]
    to_encoding = "utf-8-sig"  # with the mark Excel shows Hangul, without it does not
    tmp_storage_class = CacheStorage  # the confirming request may meet another process or machine

    def has_import_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Save a file once: rows without an id make something new each time, and a slow answer is asked for twice."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        name = request.POST.get("import_file_name", "")
        if not cache.add(f"import-confirmed-{name}", 1, CacheStorage.CACHE_LIFETIME):
            messages.error(
                request, gettext("This file has been sent already; see what was saved before you send more.")
            )
            return HttpResponseRedirect(reverse(admin_urlname(self.model._meta, SafeString("changelist"))))
        response: HttpResponse = super().process_import(request, **kwargs)
        return response

    def process_result(self, result: Result, request: HttpRequest) -> HttpResponse:
        """Say what was not saved: rows that were fine in the preview may be refused a moment later."""
        refused = [row.number for row in result.invalid_rows] + [row.number for row in result.error_rows]
        if refused:
            text = gettext("Not saved, because the shop refused them: rows %s") % ", ".join(map(str, sorted(refused)))
            messages.error(request, text)
        response: HttpResponse = super().process_result(result, request)
        return response
