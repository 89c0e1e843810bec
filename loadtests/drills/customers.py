"""The customers of a drill: they keep to the schedule whatever the shop does, and repeat with the same key."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.drills import facts
from loadtests.drills.clock import Clock
from loadtests.drills.history import Attempt, Entry, Outcome
from loadtests.drills.traffic import Cast, Op
from loadtests.drills.wire import NoAnswer, Reply, Wire

PAUSE_SECONDS = 0.4  # before a repetition, where the shop did not say
CANCELS_AFTER_SECONDS = 1.5  # nobody cancels what they have just ordered
IN_FLIGHT = "idempotency_key_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An op in terms of HTTP."""

    method: str
    path: str
    intent: str
    body: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Memory:
    """What a customer has: orders (id, since when) and coupons not spent yet."""

    orders: list[tuple[int, float]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    coupons: list[int] = field(default_factory=list)


class Customers:
    """
    `entries` grows while they shop. Patient ones repeat for `patience_s`; `is_impatient`: at once, whatever they are
    asked.
    """

    def __init__(self, wire: Wire, cast: Cast, clock: Clock, *, patience_s: float) -> None:
        self.wire, self.cast, self.clock, self.patience_s = wire, cast, clock, patience_s
        self.entries: list[Entry] = []
        self.is_impatient = False
        self.under_way = 0
        self._memory: dict[int, Memory] = defaultdict(Memory)

    async def shop(self, ops: Iterable[Op]) -> None:
        """Do what the schedule says, each op at its time (open model), and wait for the last answer."""
        tasks = []
        for op in ops:
            await asyncio.sleep(max(0.0, op.at - self.clock.now()))
            tasks.append(asyncio.create_task(self._serve(op)))
        await asyncio.gather(*tasks)

    async def _serve(self, op: Op) -> None:
        request = self._request(op)
        if request is None:
            return  # a customer without an order has nothing to cancel
        self.under_way += 1
        try:
            attempts, reply = await self._until_answered(op, request)
        finally:
            self.under_way -= 1
        entry = _entry(op, request, attempts, reply)
        self._remember(entry)
        self.entries.append(entry)

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _until_answered(self, op: Op, request: Request) -> tuple[list[Attempt], Reply | None]:
        attempts: list[Attempt] = []
        began = self.clock.now()
        while True:
            attempt, reply = await self._once(op, request)
            attempts.append(attempt)
            is_final = attempt.outcome is not Outcome.INFO and attempt.code != IN_FLIGHT and attempt.status != 429
            if is_final or not op.is_patient or self.clock.now() - began > self.patience_s:
                return attempts, reply
            await asyncio.sleep(self._pause(op, attempt))

    async def _once(self, op: Op, request: Request) -> tuple[Attempt, Reply | None]:
        headers = {"Authorization": f"Bearer {self.cast.tokens[op.user]}"} if op.kind not in ("list", "top") else {}
        if op.key:
            headers["Idempotency-Key"] = op.key
        body = b"" if request.body is None else json.dumps(request.body).encode()
        if body:
            headers["Content-Type"] = "application/json"
        start = self.clock.now()
        try:
            reply = await self.wire.ask(request.method, request.path, headers=headers, body=body)
        except NoAnswer as error:
            return Attempt(start=start, end=self.clock.now(), status=0, code=error.reason), None
        attempt = Attempt(
            start=start,
            end=self.clock.now(),
            status=reply.status,
            code=str(reply.body.get("code", "")) if reply.status >= 400 else "",
            replayed=reply.headers.get("idempotent-replayed") == "true",
            retry_after=reply.headers.get("retry-after", ""),
        )
        return attempt, reply

    def _pause(self, op: Op, attempt: Attempt) -> float:
        if self.is_impatient:
            return 0.02
        asked = float(attempt.retry_after) if attempt.retry_after else PAUSE_SECONDS
        return asked * (0.7 + 0.6 * op.luck)

    # --- choosing and remembering -----------------------------------------------------------------------------------

    def _request(self, op: Op) -> Request | None:
        match op.kind:
            case "list":
                return Request(method="GET", path="/products?size=20", intent="list")
            case "top":
                return Request(method="GET", path="/products/top-selling", intent="top")
            case "detail":
                return Request(method="GET", path=f"/products/{op.intent.split()[1]}", intent=op.intent)
            case "balance":
                return Request(method="GET", path=f"/balance/{op.user}", intent=op.intent)
            case "charge":
                return Request(method="POST", path="/balance/charge", intent=op.intent, body=op.body)
            case "claim":
                return Request(method="POST", path="/coupons/issue", intent=op.intent, body=op.body)
            case "order":
                return Request(method="POST", path="/orders", intent=op.intent, body=self._order_body(op))
            case "follow":
                return self._follow(op)
            case _:
                return self._cancel(op)

    def _order_body(self, op: Op) -> dict[str, Any]:
        coupons = self._memory[op.user].coupons
        return dict(op.body) | ({"issuance_id": coupons.pop()} if op.with_coupon and coupons else {})

    def _follow(self, op: Op) -> Request:
        orders = self._memory[op.user].orders
        if not orders:
            return Request(method="GET", path="/orders", intent=f"orders {op.user}")
        order_id, _since = orders[int(op.luck * len(orders))]
        return Request(method="GET", path=f"/orders/{order_id}", intent=f"follow {op.user} {order_id}")

    def _cancel(self, op: Op) -> Request | None:
        memory, now = self._memory[op.user], self.clock.now()
        due = [order for order, since in memory.orders if since < now - CANCELS_AFTER_SECONDS]
        chosen = next((order for order in due if order not in memory.cancelled), None)
        if chosen is None:
            return None
        memory.cancelled.add(chosen)
        intent = facts.cancel_intent(op.user, chosen)
        return Request(method="POST", path=f"/orders/{chosen}/cancel", intent=intent)

    def _remember(self, entry: Entry) -> None:
        if entry.outcome is not Outcome.OK:
            return
        memory = self._memory[entry.user]
        if entry.kind == "order" and entry.answer["order_id"] not in dict(memory.orders):
            memory.orders.append((entry.answer["order_id"], entry.end))
        elif entry.kind == "claim" and entry.answer["issuance_id"] not in memory.coupons:
            memory.coupons.append(entry.answer["issuance_id"])


KEPT = {
    "charge": ("transfer_id", "amount"),
    "order": ("order_id", "subtotal"),
    "claim": ("issuance_id", "position"),
    "cancel": ("order_id", "status"),
    "balance": ("balance",),
    "follow": ("order_id", "status"),
}
"""What of an answer the judge needs; the rest would only swell the history."""


def _entry(op: Op, request: Request, attempts: list[Attempt], reply: Reply | None) -> Entry:
    last = attempts[-1]
    is_unknown = last.code == IN_FLIGHT  # the first request with this key has not said yet
    body = reply.body if reply is not None and last.outcome is Outcome.OK else {}
    return Entry(
        number=op.number,
        kind=op.kind,
        user=op.user,
        key=op.key,
        intent=request.intent,
        start=attempts[0].start,
        end=last.end,
        outcome=Outcome.INFO if is_unknown else last.outcome,
        answer={name: body[name] for name in KEPT.get(op.kind, ()) if name in body},
        code=last.code,
        attempts=tuple(attempts),
    )
