"""Changes of the ledger. Each requires a transaction; the flow that calls opens it."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from balance.errors import BalanceLimitExceeded, InsufficientBalance
from balance.models import HOUSE_CASH_ID, HOUSE_REVENUE_ID, Wallet
from shop import db
from shop.errors import UserNotFound

WALLET_LIMIT = 1_000_000_000  # minor units; API.md "Balance"


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge that has been made; amounts in minor units."""

    transfer_id: int
    user_id: int
    amount: int
    balance: int


class LockedWallet(NamedTuple):
    """A wallet row this transaction has locked, and where it lies (Note [Places of locked rows])."""

    account_id: int
    balance: int
    place: str


class Movement(NamedTuple):
    """One transfer between a locked wallet and the house for an order; `balance_after` is the wallet's."""

    order_id: int
    wallet: LockedWallet
    amount: int
    balance_after: int


def new_reference() -> str:
    """Return a reference for an effect that has no natural one; ordered by time, so the index grows at its end."""
    return f"{time.time_ns():016x}-{secrets.token_hex(6)}"


@db.transaction_required
def open_wallet(*, user_id: int, now: datetime) -> None:
    """Give a user a wallet with balance 0. Transaction: requires one.  Locks: none."""
    db.rows(
        """
        WITH account AS (INSERT INTO balance_account (kind) VALUES ('wallet') RETURNING id)
        INSERT INTO balance_wallet (account_id, user_id, balance, updated_at) SELECT id, %s, 0, %s FROM account
        """,
        [user_id, now],
    )


@db.transaction_required
def charge(*, user_id: int, amount: int, now: datetime) -> Charged:
    """
    Move an amount from house cash into a wallet: one guarded statement.

    Units: amount in minor units, 1..10,000,000.
    Transaction: requires one.  Locks: Wallet.
    Raises: BalanceLimitExceeded, UserNotFound.
    """
    # balance_after is read in the statement that holds the row, so transfers of one wallet are numbered in the order
    # in which they were applied (invariant M2).
    found = db.rows(
        """
        WITH wallet AS (
            UPDATE balance_wallet SET balance = balance + %(amount)s, updated_at = %(now)s
            WHERE user_id = %(user_id)s AND balance <= %(limit)s - %(amount)s
            RETURNING account_id, balance
        )
        INSERT INTO balance_transfer (kind, reference, debit_account_id, credit_account_id, amount, balance_after,
                                      reason, created_at)
        SELECT 'charge', %(reference)s, %(cash)s, account_id, %(amount)s, balance, '', %(now)s FROM wallet
        RETURNING id, balance_after
        """,
        {
            "user_id": user_id,
            "amount": amount,
            "limit": WALLET_LIMIT,
            "reference": new_reference(),
            "cash": HOUSE_CASH_ID,
            "now": now,
        },
        prepared=True,
    )
    if not found:
        if not Wallet.objects.filter(user_id=user_id).exists():
            raise UserNotFound
        raise BalanceLimitExceeded(limit=WALLET_LIMIT)
    transfer_id, balance = found[0]
    return Charged(transfer_id=transfer_id, user_id=user_id, amount=amount, balance=balance)


@db.transaction_required
def lock_wallets(user_ids: Iterable[int]) -> dict[int, LockedWallet]:
    """Lock the wallets of these users, in key order. Transaction: requires one.  Locks: Wallet by id."""
    rows = db.rows(
        """
        SELECT user_id, account_id, balance, ctid FROM balance_wallet
        WHERE user_id = ANY(%s::bigint[]) ORDER BY account_id FOR NO KEY UPDATE
        """,
        [db.array(set(user_ids))],
    )
    return {user_id: LockedWallet(*wallet) for user_id, *wallet in rows}


@db.transaction_required
def record_payments(payments: Sequence[Movement], *, now: datetime) -> None:
    """
    Record payments of orders from locked wallets to house revenue, in the order given.

    Transaction: requires one, which has locked the wallets and not changed them yet.
    Repeats: refused by `transfer_once_per_effect`.
    Raises: RuntimeError when a wallet is not where it was locked.
    """
    _record("payment", payments, now=now)


@db.transaction_required
def record_refunds(refunds: Sequence[Movement], *, now: datetime) -> None:
    """
    Record refunds of orders from house revenue into locked wallets; else like `record_payments`.

    Transaction: requires one, which has locked the wallets.
    """
    _record("refund", refunds, now=now)


def _record(kind: str, movements: Sequence[Movement], *, now: datetime) -> None:
    """Insert one transfer per movement and set each wallet to its last balance."""
    if not movements:
        return
    debit, credit = ("account_id", "%(house)s") if kind == "payment" else ("%(house)s", "account_id")
    db.rows(
        f"""
        INSERT INTO balance_transfer (kind, reference, debit_account_id, credit_account_id, amount, balance_after,
                                      order_id, reason, created_at)
        SELECT %(kind)s, order_id::text, {debit}, {credit}, amount, balance_after, order_id, '', %(now)s
        FROM unnest(%(orders)s::bigint[], %(accounts)s::bigint[], %(amounts)s::bigint[], %(balances)s::bigint[])
             WITH ORDINALITY AS given (order_id, account_id, amount, balance_after, place)
        ORDER BY place
        """,  # noqa: S608 - only the two literals above are put in
        {
            "kind": kind,
            "house": HOUSE_REVENUE_ID,
            "now": now,
            "orders": db.array(movement.order_id for movement in movements),
            "accounts": db.array(movement.wallet.account_id for movement in movements),
            "amounts": db.array(movement.amount for movement in movements),
            "balances": db.array(movement.balance_after for movement in movements),
        },
    )
    _set_balances({movement.wallet: movement.balance_after for movement in movements}, now=now)


def _set_balances(balances: Mapping[LockedWallet, int], *, now: datetime) -> None:
    """Set locked wallets, each where it lies. Raises RuntimeError when one is not there."""
    ((found,),) = db.rows(
        """
        WITH changed AS (
            UPDATE balance_wallet SET balance = given.balance, updated_at = %(now)s
            FROM unnest(%(places)s::tid[], %(accounts)s::bigint[], %(balances)s::bigint[])
                 AS given (place, account_id, balance)
            WHERE balance_wallet.ctid = given.place AND balance_wallet.account_id = given.account_id
            RETURNING 1
        )
        SELECT count(*) FROM changed
        """,
        {
            "places": db.places(wallet.place for wallet in balances),
            "accounts": db.array(wallet.account_id for wallet in balances),
            "balances": db.array(balances.values()),
            "now": now,
        },
    )
    db.require_places(found, len(balances), "balance_wallet")


@db.transaction_required
def adjust(*, user_id: int, amount: int, reason: str, now: datetime) -> int:
    """
    Move a signed amount between house cash and a wallet by an operator's word; return the transfer's id.

    Units: amount in minor units, not 0; negative takes from the wallet.
    Transaction: requires one.  Locks: Wallet.
    Raises: UserNotFound, InsufficientBalance.
    """
    wallet = lock_wallets([user_id]).get(user_id)
    if wallet is None:
        raise UserNotFound
    balance = wallet.balance + amount
    if balance < 0:
        raise InsufficientBalance
    debit, credit = (HOUSE_CASH_ID, wallet.account_id) if amount > 0 else (wallet.account_id, HOUSE_CASH_ID)
    _set_balances({wallet: balance}, now=now)
    found = db.rows(
        """
        INSERT INTO balance_transfer (kind, reference, debit_account_id, credit_account_id, amount, balance_after,
                                      reason, created_at)
        VALUES ('adjustment', %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        [new_reference(), debit, credit, abs(amount), balance, reason, now],
    )
    return int(found[0][0])
