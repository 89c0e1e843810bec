"""What can happen to a wallet."""

from datetime import datetime

from balance import operations
from balance.operations import Charged
from shop import db, idempotency
from shop.idempotency import Key


def charge_balance(*, user_id: int, amount: int, key: Key | None, now: datetime) -> Charged:
    """
    Charge a wallet.

    Units: amount in minor units, 1..10,000,000.
    Transaction: opens one.  Locks: the idempotency key, Wallet.
    Repeats: the same key returns the first answer; without a key each call charges.
    Raises: BalanceLimitExceeded, UserNotFound, IdempotencyKeyReused, IdempotencyKeyInFlight.
    Source: API.md "Balance".
    """
    with db.transaction("balance.charge_balance", [user_id]), idempotency.once(key, Charged, now=now) as slot:
        if slot.fresh:
            slot.finish(operations.charge(user_id=user_id, amount=amount, now=now))
    return slot.answer()


def adjust_balance(*, user_id: int, amount: int, reason: str, now: datetime) -> int:
    """
    Correct a wallet by an operator's word; return the transfer's id.

    Units: amount in minor units, signed, not 0.
    Transaction: opens one.  Locks: Wallet.
    Raises: UserNotFound, InsufficientBalance.
    """
    with db.transaction():
        return operations.adjust(user_id=user_id, amount=amount, reason=reason, now=now)
