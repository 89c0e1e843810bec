"""How the ledger looks in the OpenAPI document."""

from balance import api
from balance.errors import BalanceLimitExceeded
from balance.models import TransferKind
from shop import cursors
from shop.errors import InvalidCursor, NotAllowed, NotYourAccount, UserNotFound
from shop.openapi import (
    COUNT,
    CURRENCY,
    ID,
    LIST_NOTES,
    MONEY,
    POSITIVE,
    TIME,
    Answer,
    Operation,
    describe,
    listing,
    nullable,
    one_of,
    record,
)

BALANCE = record("Balance", user_id=ID, balance=COUNT, currency=CURRENCY, updated_at=TIME)
CHARGED = record("Charged", transfer_id=ID, user_id=ID, amount=POSITIVE, balance=COUNT, currency=CURRENCY)
TRANSFER = record(
    "Transfer",
    transfer_id=ID,
    kind=one_of(TransferKind.values),
    amount=MONEY | {"description": "In minor units, signed as the wallet sees it."},
    balance_after=COUNT,
    order_id=nullable(ID),
    created_at=TIME,
)

describe(
    api.ShowBalance,
    "get",
    Operation(
        name="show_balance",
        tag="Balance",
        answers=(Answer(200, "The wallet.", BALANCE),),
        failures=(NotYourAccount, NotAllowed, UserNotFound),
    ),
)
describe(
    api.ListTransfers,
    "get",
    Operation(
        name="list_transfers",
        tag="Balance",
        query=cursors.PAGE_PARAMETERS,
        notes=LIST_NOTES,
        answers=(Answer(200, "A page of transfers.", listing("Transfers", TRANSFER), ("Cache-Control", "Link")),),
        failures=(NotYourAccount, NotAllowed, UserNotFound, InvalidCursor),
    ),
)
describe(
    api.ChargeBalance,
    "post",
    Operation(
        name="charge_balance",
        tag="Balance",
        body=api.CHARGE,
        takes_key=True,
        answers=(Answer(200, "Charged.", CHARGED),),
        failures=(NotYourAccount, NotAllowed, UserNotFound, BalanceLimitExceeded),
    ),
)
