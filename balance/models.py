"""
Double-entry ledger: every amount moves from one account to another, so debits equal credits by construction.

Rows of `Transfer` are written once and never changed (a trigger refuses it); a refund is another transfer.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

HOUSE_CASH_ID, HOUSE_REVENUE_ID = 1, 2  # created by the first migration; user wallets come after


class AccountKind(models.TextChoices):
    WALLET = "wallet", _("wallet")
    HOUSE_CASH = "house_cash", _("house cash")
    HOUSE_REVENUE = "house_revenue", _("house revenue")


class TransferKind(models.TextChoices):
    CHARGE = "charge", _("charge")
    PAYMENT = "payment", _("payment")
    REFUND = "refund", _("refund")
    ADJUSTMENT = "adjustment", _("adjustment")


class Account(models.Model):
    """A side of the ledger. House accounts have no balance column: they are sums, never hot rows."""

    kind = models.CharField(_("kind"), max_length=16, choices=AccountKind)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=AccountKind.values), name="account_kind_known"),
            models.UniqueConstraint("kind", condition=~Q(kind=AccountKind.WALLET), name="account_one_per_house_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class Wallet(models.Model):
    """A user's account with its balance cached: always the sum of its transfers (invariants M1, M2), never negative."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, verbose_name=_("account"))
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("user"))
    balance = models.BigIntegerField(_("balance"), default=0)
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [models.CheckConstraint(condition=Q(balance__gte=0), name="wallet_balance_not_negative")]

    def __str__(self) -> str:
        return gettext("wallet of user %(user)s") % {"user": self.user_id}


class Transfer(models.Model):
    """
    `amount` moves from the debit to the credit account, once per `(kind, reference)`, for ever.

    `balance_after` is the wallet's balance after it; `order_id` is set for payments and refunds only. The accounts
    have no foreign key: see docs/decisions/0009.
    """

    kind = models.CharField(_("kind"), max_length=16, choices=TransferKind)
    reference = models.CharField(_("reference"), max_length=64)
    debit_account = models.ForeignKey(
        Account,
        models.PROTECT,
        related_name="debits",
        db_index=False,
        db_constraint=False,
        verbose_name=_("debit account"),
    )
    credit_account = models.ForeignKey(
        Account,
        models.PROTECT,
        related_name="credits",
        db_index=False,
        db_constraint=False,
        verbose_name=_("credit account"),
    )
    amount = models.BigIntegerField(_("amount"))
    balance_after = models.BigIntegerField(_("balance after"))
    order_id = models.BigIntegerField(_("order id"), null=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="")
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        constraints = [
            models.UniqueConstraint("kind", "reference", name="transfer_once_per_effect"),
            models.CheckConstraint(condition=Q(kind__in=TransferKind.values), name="transfer_kind_known"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_amount_positive"),
            models.CheckConstraint(condition=Q(balance_after__gte=0), name="transfer_balance_after_not_negative"),
            models.CheckConstraint(
                condition=~Q(debit_account=F("credit_account")), name="transfer_between_two_accounts"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["payment", "refund"], order_id__isnull=False)
                | Q(kind__in=["charge", "adjustment"], order_id__isnull=True),
                name="transfer_order_only_for_payment_and_refund",
            ),
        ]
        # A wallet's history reads one index per side; the conditions keep the house accounts' rows out of both.
        indexes = [
            models.Index(
                "debit_account", "id", name="transfer_out_of_wallet", condition=Q(kind__in=["payment", "adjustment"])
            ),
            models.Index(
                "credit_account",
                "id",
                name="transfer_into_wallet",
                condition=Q(kind__in=["charge", "refund", "adjustment"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.reference}"
