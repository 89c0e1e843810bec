"""Reads of the ledger; they change nothing."""

from typing import Any

from django.conf import settings

from balance.models import Transfer, TransferKind
from shop import cursors, db
from shop.errors import UserNotFound

TRANSFERS_SCOPE = "balance/transfers"


def get_balance(*, user_id: int) -> dict[str, Any]:
    """
    Return the wallet of a user as API.md "Balance" shows it: one indexed row.

    Units: balance in minor units.
    Raises: UserNotFound.
    """
    found = db.rows("SELECT balance, updated_at FROM balance_wallet WHERE user_id = %s", [min(user_id, 2**63 - 1)])
    if not found:
        raise UserNotFound
    balance, updated_at = found[0]
    return {"user_id": user_id, "balance": balance, "currency": settings.SHOP_CURRENCY, "updated_at": updated_at}


def list_transfers(*, user_id: int, size: int, position: cursors.Position | None) -> cursors.Page:
    """
    Return a page of a user's transfers, newest first; amounts are signed as the wallet sees them.

    Shapes: size 1..100.  Units: minor units.
    Raises: UserNotFound.
    """
    backward = position is not None and position.backward
    comparison, direction = (">", "ASC") if backward else ("<", "DESC")
    bound = f"AND id {comparison} %(row_id)s" if position else ""
    # Each side reads its own index as far as one page needs; the kinds are those indexes' conditions.
    # Only `comparison`, `direction` and `bound` above are put in, never anything a client sent.
    sides = [
        f"""(SELECT id, kind, {sign}amount, balance_after, order_id, created_at FROM balance_transfer
             WHERE {side}_account_id = (SELECT account_id FROM balance_wallet WHERE user_id = %(user_id)s)
             AND kind IN ({kinds}) {bound} ORDER BY id {direction} LIMIT %(limit)s)"""  # noqa: S608 - see above
        for side, sign, kinds in (
            ("credit", "", "'charge', 'refund', 'adjustment'"),
            ("debit", "-", "'payment', 'adjustment'"),
        )
    ]
    found = db.rows(
        f"{' UNION ALL '.join(sides)} ORDER BY id {direction} LIMIT %(limit)s",
        {"user_id": min(user_id, 2**63 - 1), "limit": size + 1, "row_id": position.row_id if position else 0},
    )
    if not found:
        get_balance(user_id=user_id)  # a wallet without transfers, or nobody there
    names = ("transfer_id", "kind", "amount", "balance_after", "order_id", "created_at")
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return cursors.cut(rows, [(row[0], row[0]) for row in found], size=size, position=position)


def list_transfers_of_order(*, order_id: int) -> list[Transfer]:
    """Return the payment and the refund of an order, as far as there are any; their reference is the order's id."""
    return list(
        Transfer.objects.filter(
            kind__in=[TransferKind.PAYMENT, TransferKind.REFUND], reference=str(order_id), order_id=order_id
        ).order_by("pk")
    )
