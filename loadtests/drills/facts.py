"""What PostgreSQL holds of a drill's customers when all is settled: the other side of the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFact:
    """An order as stored; `intent` is what its customer asked for, `refunds` how often its money was given back."""

    order_id: int
    user: int
    intent: str
    status: str
    failure: str
    created_at: float
    settled_at: float | None
    refunds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFact:
    """A coupon as stored."""

    issuance_id: int
    user: int
    campaign: int
    position: int | None
    status: str

    @property
    def intent(self) -> str:
        return claim_intent(self.user, self.campaign)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line of a wallet's ledger; `amount` is signed."""

    transfer_id: int
    user: int
    kind: str
    amount: int
    balance_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the judge looks at; `totals` are the places each campaign has, times are seconds of the drill."""

    orders: Sequence[OrderFact] = ()
    places: Sequence[PlaceFact] = ()
    ledger: Sequence[LedgerLine] = ()
    totals: Mapping[int, int] = field(default_factory=dict)

    def charges(self) -> list[tuple[str, int]]:
        """Return (intent, transfer id) of every charge."""
        return [
            (charge_intent(entry.user, entry.amount), entry.transfer_id)
            for entry in self.ledger
            if entry.kind == "charge"
        ]


def charge_intent(user: int, amount: int) -> str:
    return f"charge {user} {amount}"


def claim_intent(user: int, campaign: int) -> str:
    return f"claim {user} {campaign}"


def order_intent(user: int, items: Sequence[tuple[int, int]]) -> str:
    """Return the name of an order by its pieces: no customer of a drill orders the same twice on purpose."""
    return f"order {user} " + "+".join(f"{quantity}x{product}" for product, quantity in sorted(items))


def cancel_intent(user: int, order_id: int) -> str:
    return f"cancel {user} {order_id}"


ORDERS = """
    SELECT o.id, o.user_id, o.status, o.failure_code, o.created_at, o.settled_at,
           array_agg(l.product_id ORDER BY l.product_id), array_agg(l.quantity ORDER BY l.product_id),
           (SELECT count(*) FROM balance_transfer t WHERE t.order_id = o.id AND t.kind = 'refund')
    FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
    WHERE o.user_id BETWEEN %(first)s AND %(last)s GROUP BY o.id ORDER BY o.id
"""
PLACES = """
    SELECT id, user_id, campaign_id, position, status FROM coupons_issuance
    WHERE user_id BETWEEN %(first)s AND %(last)s ORDER BY id
"""
LEDGER = """
    SELECT t.id, w.user_id, t.kind, CASE WHEN t.credit_account_id = w.account_id THEN t.amount ELSE -t.amount END,
           t.balance_after
    FROM balance_wallet w JOIN balance_transfer t ON w.account_id IN (t.credit_account_id, t.debit_account_id)
    WHERE w.user_id BETWEEN %(first)s AND %(last)s AND t.id > %(after)s ORDER BY t.id
"""
TOTALS = "SELECT id, total_quantity FROM coupons_campaign WHERE id = ANY(%(campaigns)s)"


def read(
    connection: psycopg.Connection[Any],
    *,
    users: range,
    campaigns: Sequence[int],
    after_transfer: int,
    began_at: datetime,
) -> Facts:
    """
    Read what a drill's customers left behind.

    Shapes: after_transfer is the ledger's last id before the drill: seeded money is nobody's request.
    """
    given = {"first": users.start, "last": users.stop - 1, "after": after_transfer, "campaigns": list(campaigns)}

    def seconds(moment: datetime | None) -> float | None:
        return None if moment is None else (moment - began_at).total_seconds()

    orders = [
        OrderFact(
            order_id=order_id,
            user=user,
            intent=order_intent(user, list(zip(products, quantities, strict=True))),
            status=status,
            failure=failure,
            created_at=seconds(created) or 0.0,
            settled_at=seconds(settled),
            refunds=refunds,
        )
        for order_id, user, status, failure, created, settled, products, quantities, refunds in connection.execute(
            ORDERS, given
        )
    ]
    names = ("issuance_id", "user", "campaign", "position", "status")
    places = [PlaceFact(**dict(zip(names, row, strict=True))) for row in connection.execute(PLACES, given)]
    names = ("transfer_id", "user", "kind", "amount", "balance_after")
    ledger = [LedgerLine(**dict(zip(names, row, strict=True))) for row in connection.execute(LEDGER, given)]
    totals: dict[int, int] = dict(connection.execute(TOTALS, given).fetchall())
    return Facts(orders=orders, places=places, ledger=ledger, totals=totals)
