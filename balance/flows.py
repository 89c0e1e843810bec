"""What can happen to a wallet."""

from datetime import datetime

from balance import operations
from balance.operations import Charged
from shop import db, idempotency, trail
from shop.idempotency import Key
from shop.trail import Act

TRANSFER = "balance.transfer"
CHARGED_FOR = "charged by staff through the API"  # the API asks for no reason; what it was for is the customer's order


def charge_balance(
    *, user_id: int, amount: int, key: Key | None, now: datetime, operator_id: int | None = None
) -> Charged:
    """
    Charge a wallet; with `operator_id` somebody else's, which goes into the trail of what operators did.

    Units: amount in minor units, 1..10,000,000.
    Transaction: opens one; a customer's charge without a key is one statement.  Locks: the idempotency key, Wallet.
    Repeats: the same key returns the first answer; without a key each call charges.
    Raises: BalanceLimitExceeded, UserNotFound, NotAllowed, IdempotencyKeyReused, IdempotencyKeyInFlight.
    Source: API.md "Balance".
    """
    with (
        db.transaction("balance.charge_balance", [user_id], single=key is None and operator_id is None),
        idempotency.once(key, Charged, now=now) as slot,
    ):
        if slot.fresh:
            charged = operations.charge(user_id=user_id, amount=amount, now=now)
            if operator_id is not None:
                act = Act("balance.charge", TRANSFER, charged.transfer_id, CHARGED_FOR, amount=amount)
                trail.record(act, operator_id=operator_id, now=now)
            slot.finish(charged)
    return slot.answer()


def adjust_balance(*, user_id: int, amount: int, reason: str, operator_id: int, now: datetime) -> int:
    """
    Correct a wallet by an operator's word; return the transfer's id.

    Units: amount in minor units, signed, not 0.
    Transaction: opens one.  Locks: Wallet.
    Raises: UserNotFound, InsufficientBalance, NotAllowed.
    """
    with db.transaction():
        transfer_id = operations.adjust(user_id=user_id, amount=amount, reason=reason, now=now)
        act = Act("balance.adjust", TRANSFER, transfer_id, reason, amount=amount)
        trail.record(act, operator_id=operator_id, now=now)
    return transfer_id
