"""All the ways a coupon can be refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.utils.translation import gettext_noop as _

from shop.errors import NotFound, Refused


class CouponNotFound(NotFound):
    """No campaign has this id."""

    code = "coupon_not_found"
    title = _("No such coupon")
    detail = _("There is no coupon campaign with this id.")


class IssuanceNotFound(NotFound):
    """The caller has no issuance with this id."""

    code = "issuance_not_found"
    title = _("No such coupon of yours")
    detail = _("You have no coupon with this id.")


class CouponSoldOut(Refused):
    """Every place of the campaign is taken; final unless the operator raises the quantity."""

    code = "coupon_sold_out"
    title = _("The coupon is sold out")
    detail = _("All places were taken before yours.")


@dataclass(eq=False, kw_only=True)
class CouponAlreadyIssued(Refused):
    """The caller has a place in this campaign already; `issuance_id` names it."""

    code: ClassVar[str] = "coupon_already_issued"
    title: ClassVar[str] = _("You have this coupon already")
    detail: ClassVar[str] = _("Each customer gets a coupon once.")
    issuance_id: int


@dataclass(eq=False, kw_only=True)
class CouponNotOpen(Refused):
    """The campaign has not begun; try again at `opens_at`."""

    code: ClassVar[str] = "coupon_not_open"
    title: ClassVar[str] = _("The coupon is not open yet")
    detail: ClassVar[str] = _("It opens at %(opens_at)s.")
    opens_at: datetime


class CouponClosed(Refused):
    """The campaign is over."""

    code = "coupon_closed"
    title = _("The coupon is closed")
    detail = _("The campaign is over.")


class IssuanceNotUsable(Refused):
    """The coupon is unknown, somebody else's, used, expired, or the order is below its lowest amount."""

    code = "issuance_not_usable"
    title = _("The coupon cannot be used")
    detail = _("Use a coupon of your own that is neither used nor expired.")


class TermsFrozen(Refused):
    """A campaign's discount terms cannot change once somebody holds its coupon."""

    code = "terms_frozen"
    title = _("The terms are frozen")
    detail = _("Somebody holds a coupon of this campaign; make a new campaign instead.")


class QuantityTooLow(Refused):
    """The total cannot be lowered below what has been issued."""

    code = "quantity_too_low"
    title = _("The quantity is too low")
    detail = _("More coupons than that have been issued.")


class TermsContradict(Refused):
    """What an operator changed does not go with what somebody else has changed meanwhile."""

    code = "terms_contradict"
    title = _("The campaign was changed meanwhile")
    detail = _("Its terms or times would contradict each other; look at it again.")
