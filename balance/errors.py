"""All the ways the ledger can refuse."""

from dataclasses import dataclass
from typing import ClassVar

from django.utils.translation import gettext_noop as _

from shop.errors import Refused


@dataclass(eq=False, kw_only=True)
class BalanceLimitExceeded(Refused):
    """The charge would lift the balance above the wallet's limit; charge less."""

    code: ClassVar[str] = "balance_limit_exceeded"
    title: ClassVar[str] = _("The balance would exceed its limit")
    detail: ClassVar[str] = _("A wallet holds at most %(limit)s. Charge less.")
    limit: int


class InsufficientBalance(Refused):
    """The wallet holds less than the amount to take; nothing was taken."""

    code = "insufficient_balance"
    title = _("The balance is too low")
    detail = _("Charge the wallet and try again.")
