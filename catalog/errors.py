"""All the ways the catalogue can refuse."""

from django.utils.translation import gettext_noop as _

from shop.errors import NotFound, Refused


class ProductNotFound(NotFound):
    """No product on sale has this id; a hidden one does not exist for customers."""

    code = "product_not_found"
    title = _("No such product")
    detail = _("There is no product with this id, or it is not on offer.")


class StockTooLow(Refused):
    """More pieces were to be written off than are available."""

    code = "stock_too_low"
    title = _("There is not that much stock")
    detail = _("Write off at most what is available.")
