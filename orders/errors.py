"""All the ways an order can be refused. What the pipeline refuses becomes the order's `failure`."""

from django.utils.translation import gettext_noop as _

from shop.errors import NotFound, Refused


class OrderNotFound(NotFound):
    """The caller has no order with this id."""

    code = "order_not_found"
    title = _("No such order")
    detail = _("You have no order with this id.")


class OrderNotCancellable(Refused):
    """Only a paid order can be cancelled, once."""

    code = "order_not_cancellable"
    title = _("The order cannot be cancelled")
    detail = _("Only a paid order can be cancelled.")


OUT_OF_STOCK = "out_of_stock"
PRODUCT_UNAVAILABLE = "product_unavailable"
ISSUANCE_NOT_USABLE = "issuance_not_usable"
INSUFFICIENT_BALANCE = "insufficient_balance"

FAILURES = {
    OUT_OF_STOCK: _("A product had fewer pieces left than the order asks for."),
    PRODUCT_UNAVAILABLE: _("A product is no longer on offer."),
    ISSUANCE_NOT_USABLE: _("The coupon could not be used for this order."),
    INSUFFICIENT_BALANCE: _("The wallet held less than the order's total."),
}
"""What `failure.detail` says for each `failure.code` (API.md "Orders")."""
