"""
The shop as a handful of dicts: what must become of every order, coin, piece and coupon, one step at a time.

It is written from API.md and DESIGN.md, not from the code: no transaction, no batch in SQL, no gate. A coupon claim is
"waiting" from the gate's answer until it is recorded; `known_at_gate` is what the gate would still know.
"""

from dataclasses import dataclass, field


@dataclass
class Placed:
    """One order; `wanted` is product -> pieces."""

    user_id: int
    wanted: dict[int, int]
    coupon: int | None
    subtotal: int
    total: int
    status: str = "pending"
    failure: str = ""
    refusal: str = ""


@dataclass
class Coupon:
    """A recorded coupon."""

    user_id: int
    campaign_id: int
    position: int | None
    status: str


@dataclass
class Offer:
    """A campaign: its places, and the gate that stands for it (None: to be rebuilt)."""

    total: int
    off: int
    at_least: int
    issued: int = 0
    known_at_gate: set[int] | None = None


@dataclass
class Waiting:
    """A claim in the gate's stream."""

    coupon: int
    user_id: int
    campaign_id: int


@dataclass
class Model:
    """Everything there is. Ids are the shop's own; orders are kept in the order of acceptance."""

    balances: dict[int, int] = field(default_factory=dict)
    stock: dict[int, int] = field(default_factory=dict)
    prices: dict[int, int] = field(default_factory=dict)
    orders: dict[int, Placed] = field(default_factory=dict)
    coupons: dict[int, Coupon] = field(default_factory=dict)
    offers: dict[int, Offer] = field(default_factory=dict)
    stream: list[Waiting] = field(default_factory=list)

    # --- orders -----------------------------------------------------------------------------------------------------

    def may_spend(self, user_id: int, coupon: int) -> bool:
        """Say whether an order may name this coupon: the user's own, issued or still waiting."""
        if coupon in self.coupons:
            found = self.coupons[coupon]
            return (found.user_id, found.status) == (user_id, "issued")
        return any((claim.coupon, claim.user_id) == (coupon, user_id) for claim in self.stream)

    def place(self, order_id: int, user_id: int, wanted: dict[int, int], coupon: int | None) -> None:
        subtotal = sum(self.prices[product_id] * pieces for product_id, pieces in wanted.items())
        self.orders[order_id] = Placed(user_id, wanted, coupon, subtotal, subtotal)

    def _next(self, limit: int, status: str) -> list[Placed]:
        found = [order for order in self.orders.values() if order.status == status and not order.refusal]
        return found[:limit]

    def reserve_stock(self, limit: int) -> None:
        for order in self._next(limit, "pending"):
            if all(self.stock[product_id] >= pieces for product_id, pieces in order.wanted.items()):
                self._move_stock(order, -1)
                is_behind = any(
                    other.user_id == order.user_id for other in self._next(len(self.orders), "stock_reserved")
                )
                order.status = "stock_reserved" if order.coupon is not None or is_behind else "coupon_applied"
            else:
                order.status, order.failure = "failed", "out_of_stock"

    def _move_stock(self, order: Placed, sign: int) -> None:
        for product_id, pieces in order.wanted.items():
            self.stock[product_id] += sign * pieces

    def redeem_coupons(self, limit: int, *, is_late: bool) -> None:
        for order in self._next(limit, "stock_reserved"):
            if order.coupon is not None and order.coupon not in self.coupons and not is_late:
                continue  # it is waited for
            if order.coupon is None or self._spend(order):
                order.status = "coupon_applied"
            else:
                order.refusal = "issuance_not_usable"

    def _spend(self, order: Placed) -> bool:
        coupon = self.coupons.get(order.coupon or 0)
        if coupon is None or coupon.status != "issued":
            return False
        offer = self.offers[coupon.campaign_id]
        if order.subtotal < offer.at_least:
            return False
        coupon.status = "used"
        order.total = max(0, order.subtotal - offer.off)
        return True

    def take_payments(self, limit: int) -> None:
        for order in self._next(limit, "coupon_applied"):
            if self.balances[order.user_id] >= order.total:
                self.balances[order.user_id] -= order.total
                order.status = "paid"
            else:
                order.refusal = "insufficient_balance"

    def release(self, limit: int) -> None:
        for order in [order for order in self.orders.values() if order.refusal][:limit]:
            self._give_back(order)
            order.status, order.failure, order.refusal = "failed", order.refusal, ""

    def _give_back(self, order: Placed) -> None:
        self._move_stock(order, 1)
        if order.coupon is not None and order.status != "stock_reserved":
            self.coupons[order.coupon].status = "issued"

    def cancel(self, order_id: int) -> None:
        order = self.orders[order_id]
        self._give_back(order)
        self.balances[order.user_id] += order.total
        order.status = "cancelled"

    # --- coupons ----------------------------------------------------------------------------------------------------

    def holders(self, campaign_id: int) -> dict[int, int]:
        """Return user -> coupon of everybody who holds this campaign's coupon for certain."""
        return {
            coupon.user_id: number
            for number, coupon in self.coupons.items()
            if coupon.campaign_id == campaign_id and coupon.status != "rejected"
        }

    def open_gate(self, campaign_id: int) -> set[int]:
        """Return the users the gate knows; one that does not stand is rebuilt, with the waiting claims recorded."""
        offer = self.offers[campaign_id]
        if offer.known_at_gate is None:
            self._record([claim for claim in self.stream if claim.campaign_id == campaign_id])
            offer.known_at_gate = set(self.holders(campaign_id))
        return offer.known_at_gate

    def claim_at_gate(self, user_id: int, campaign_id: int) -> int | str:
        """Return the position, or why there is none."""
        known = self.open_gate(campaign_id)
        if user_id in known:
            return "coupon_already_issued"
        if len(known) >= self.offers[campaign_id].total:
            return "coupon_sold_out"
        return len(known) + 1

    def enter_gate(self, user_id: int, campaign_id: int, coupon: int) -> None:
        self.open_gate(campaign_id).add(user_id)
        self.stream.append(Waiting(coupon, user_id, campaign_id))

    def claim_under_row_lock(self, user_id: int, campaign_id: int) -> int | str:
        offer = self.offers[campaign_id]
        if user_id in self.holders(campaign_id):
            return "coupon_already_issued"
        if offer.issued >= offer.total:
            return "coupon_sold_out"
        return offer.issued + 1

    def enter_past_the_gate(self, user_id: int, campaign_id: int, coupon: int) -> None:
        self._record([Waiting(coupon, user_id, campaign_id)])
        self.offers[campaign_id].known_at_gate = None

    def record_claims(self, limit: int, *, is_acknowledged: bool) -> None:
        claims = self.stream[:limit]
        self._record(claims)
        if is_acknowledged:
            del self.stream[:limit]

    def _record(self, claims: list[Waiting]) -> None:
        """Issue while places last and reject the rest; a user or an id that is known is passed over."""
        for claim in claims:
            offer = self.offers[claim.campaign_id]
            if claim.coupon in self.coupons or claim.user_id in self.holders(claim.campaign_id):
                continue
            if offer.issued < offer.total:
                offer.issued += 1
                self.coupons[claim.coupon] = Coupon(claim.user_id, claim.campaign_id, offer.issued, "issued")
            else:
                self.coupons[claim.coupon] = Coupon(claim.user_id, claim.campaign_id, None, "rejected")

    def lose_gates(self, *, with_stream: bool) -> None:
        for offer in self.offers.values():
            offer.known_at_gate = None
        if with_stream:
            self.stream.clear()
