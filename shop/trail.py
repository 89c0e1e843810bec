"""What operators did to whose money, stock and offers, and why: a row per act, in the transaction of its effect."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shop import db, jsontext
from shop.errors import NotAllowed


@dataclass(frozen=True, slots=True)
class Act:
    """
    One thing an operator did.

    `object_type` and `object_id` name the row it shows on ("balance.transfer", 7); `amount` is money in minor units,
    signed as the customer sees it; `details` holds what else changed.
    """

    action: str
    object_type: str
    object_id: int
    reason: str
    amount: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


@db.transaction_required
def record(act: Act, *, operator_id: int, now: datetime) -> None:
    """
    Write down what an operator does, with the name they have now.

    Transaction: requires one, the effect's: neither is there without the other.
    Raises: NotAllowed for somebody who is no operator (any more); the effect is rolled back with it.
    """
    written = db.rows(
        """
        INSERT INTO shop_operatoraction (operator_id, operator_name, action, object_type, object_id, amount, reason,
                                         details, created_at)
        SELECT id, username, %s, %s, %s, %s, %s, %s, %s FROM shop_user WHERE id = %s AND is_active AND is_staff
        RETURNING id
        """,
        [
            act.action, act.object_type, act.object_id, act.amount, act.reason,
            jsontext.dump(act.details).decode(), now, operator_id,
        ],
    )  # fmt: skip
    if not written:
        raise NotAllowed
