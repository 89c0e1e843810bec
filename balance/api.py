"""Balance over HTTP."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from balance import flows, queries
from shop import accounts, cursors
from shop.endpoint import Endpoint, private
from shop.errors import InvalidToken, NotYourAccount, UserNotFound
from shop.inputs import BIGINT_MAX, Integer, Nullable, Object, read_body, read_query

LARGEST_CHARGE = 10_000_000  # minor units; API.md "Balance"
CHARGE = Object(amount=Integer(1, LARGEST_CHARGE), optional={"user_id": Nullable(Integer(1, BIGINT_MAX))})


class OwnAccount(Endpoint):
    """What all wallet addresses share: the owner or staff (API.md "Balance"); one answer for everybody else."""

    def check_may_act_for(self, user_id: int) -> None:
        """Raise NotYourAccount unless the caller owns the account or is staff, NotAllowed for who was staff."""
        if user_id == self.caller.user_id:
            return
        if not self.caller.is_staff:
            raise NotYourAccount
        accounts.check_is_staff(user_id=self.caller.user_id)

    def missing(self, user_id: int) -> Exception:
        """Return what a missing wallet means: nobody there, or a token that outlived its user."""
        is_own = user_id == self.caller.user_id and not self.caller.is_staff
        return InvalidToken() if is_own else UserNotFound()


class ShowBalance(OwnAccount):
    """The balance of a wallet, always the newest."""

    def get(self, request: HttpRequest, user_id: int) -> HttpResponse:
        self.check_may_act_for(user_id)
        try:
            return private(queries.get_balance(user_id=user_id))
        except UserNotFound:
            raise self.missing(user_id) from None


class ListTransfers(OwnAccount):
    """The history of a wallet, newest first."""

    def get(self, request: HttpRequest, user_id: int) -> HttpResponse:
        self.check_may_act_for(user_id)
        query = read_query(request, cursors.PAGE_PARAMETERS)
        scope = f"{queries.TRANSFERS_SCOPE}/{user_id}"
        position = cursors.decode(query["cursor"], scope) if query["cursor"] else None
        try:
            page = queries.list_transfers(user_id=user_id, size=query["size"], position=position)
        except UserNotFound:
            raise self.missing(user_id) from None
        return cursors.listed(request, query, page, scope)


class ChargeBalance(OwnAccount):
    """Charge a wallet: one's own, or as staff another's by `user_id`."""

    def post(self, request: HttpRequest) -> HttpResponse:
        body = read_body(request, CHARGE)
        user_id = body["user_id"] or self.caller.user_id
        self.check_may_act_for(user_id)
        key = self.read_key(request, "balance/charge", body)
        operator_id = self.caller.user_id if user_id != self.caller.user_id else None
        try:
            charged = flows.charge_balance(
                user_id=user_id, amount=body["amount"], key=key, operator_id=operator_id, now=timezone.now()
            )
        except UserNotFound:
            raise self.missing(user_id) from None
        return private(
            {
                "transfer_id": charged.transfer_id,
                "user_id": charged.user_id,
                "amount": charged.amount,
                "balance": charged.balance,
                "currency": settings.SHOP_CURRENCY,
            }
        )
