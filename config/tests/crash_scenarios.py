"""What is under way when something is ended: keyed requests, and batches in which an order meets every fate."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.utils import timezone

from balance.models import Transfer
from config.tests.building import balance_of, make_campaign, make_product, make_user, statuses, stock_of
from config.tests.client import Answer
from config.tests.crashing import CrashableShop, Request, Work
from coupons import gate
from coupons.models import Campaign, Issuance
from orders.models import Order
from shop import connections
from shop.auth import access_token_for
from shop.models import OperatorAction, User

MONEY, PRICE, OFF = 10_000, 1_000, 500


def expect(**facts: tuple[object, object]) -> list[str]:
    """Name the facts, given as (what is, what must be), that are not as they must be."""
    return [f"{name} is {found}, not {wanted}" for name, (found, wanted) in facts.items() if found != wanted]


def make_coupon(user_id: int) -> int:
    """Return a coupon that was issued long ago; its campaign has no gate."""
    now = timezone.now()
    campaign_id = make_campaign(total=1)
    Campaign.objects.filter(pk=campaign_id).update(issued=1)
    return Issuance.objects.create(
        campaign_id=campaign_id,
        user_id=user_id,
        position=1,
        status="issued",
        issued_at=now,
        expires_at=now + timedelta(days=30),
    ).pk


def status_of_coupon(issuance_id: int) -> str:
    return str(Issuance.objects.get(pk=issuance_id).status)


def order_body(product_id: int, *, quantity: int = 1, issuance_id: int | None = None) -> dict[str, object]:
    return {"items": [{"product_id": product_id, "quantity": quantity}], "issuance_id": issuance_id}


# --- requests -------------------------------------------------------------------------------------------------------


def charge(_: CrashableShop) -> Request:
    """A customer charges an empty wallet."""
    user_id = make_user()

    def judge(answer: Answer) -> list[str]:
        return expect(
            status=(answer.status, 200),
            charges=(Transfer.objects.filter(kind="charge", credit_account__wallet__user_id=user_id).count(), 1),
            balance=(balance_of(user_id), 5),
            told=(answer.json.get("balance"), 5),
        )

    return Request("/balance/charge", {"amount": 5}, user_id, access_token_for(user_id=user_id), judge)


def charge_by_staff(_: CrashableShop) -> Request:
    """An operator charges a customer's empty wallet: it goes into the trail as well."""
    user_id, staff_id = make_user(), make_user()
    User.objects.filter(pk=staff_id).update(is_staff=True, is_superuser=True)

    def judge(answer: Answer) -> list[str]:
        return expect(
            status=(answer.status, 200),
            balance=(balance_of(user_id), 5),
            trail=(OperatorAction.objects.filter(operator_id=staff_id, action="balance.charge").count(), 1),
        )

    token = access_token_for(user_id=staff_id, is_staff=True)
    return Request("/balance/charge", {"amount": 5, "user_id": user_id}, staff_id, token, judge)


def place(_: CrashableShop) -> Request:
    """A customer orders one piece."""
    user_id, product_id = make_user(balance=MONEY), make_product(stock=5, price=PRICE)

    def judge(answer: Answer) -> list[str]:
        orders = list(Order.objects.filter(user_id=user_id).values_list("pk", "status"))
        return expect(
            status=(answer.status, 202),
            orders=(orders, [(answer.json.get("order_id"), "paid")]),
            balance=(balance_of(user_id), MONEY - PRICE),
            stock=(stock_of(product_id), 4),
        )

    return Request("/orders", order_body(product_id), user_id, access_token_for(user_id=user_id), judge)


def cancel(shop: CrashableShop) -> Request:
    """A customer cancels an order that was paid, with a coupon."""
    user_id, product_id = make_user(balance=MONEY), make_product(stock=5, price=PRICE)
    token, issuance_id = access_token_for(user_id=user_id), make_coupon(user_id)
    placed = shop.client.post("/orders", order_body(product_id, issuance_id=issuance_id), token=token)
    order_id = placed.json["order_id"]
    assert shop.settle(seconds=10)
    assert (statuses([order_id]), balance_of(user_id)) == (["paid"], MONEY - PRICE + OFF)

    def judge(answer: Answer) -> list[str]:
        return expect(
            status=(answer.status, 200),
            order=(statuses([order_id]), ["cancelled"]),
            refunds=(Transfer.objects.filter(kind="refund", order_id=order_id).count(), 1),
            balance=(balance_of(user_id), MONEY),
            stock=(stock_of(product_id), 5),
            coupon=(status_of_coupon(issuance_id), "issued"),
        )

    return Request(f"/orders/{order_id}/cancel", None, user_id, token, judge)


def claim(_: CrashableShop) -> Request:
    """A customer is the first to claim a campaign's coupon, so that its gate is built."""
    user_id, campaign_id = make_user(), make_campaign(total=3)

    def judge(answer: Answer) -> list[str]:
        rows = Issuance.objects.filter(campaign_id=campaign_id).values_list("pk", "user_id", "position", "status")
        return expect(
            status=(answer.status, 202),
            issuances=(list(rows), [(answer.json.get("issuance_id"), user_id, 1, "issued")]),
            issued=(Campaign.objects.get(pk=campaign_id).issued, 1),
        )

    return Request("/coupons/issue", {"coupon_id": campaign_id}, user_id, access_token_for(user_id=user_id), judge)


def claim_past_the_gate(shop: CrashableShop) -> Request:
    """A customer claims a coupon whose gate fails: to the web that is Redis away, and it asks PostgreSQL."""
    request = claim(shop)
    key = gate.gate_key(request.body["coupon_id"])
    connections.gate().set(key, "not a gate")
    request.heal = partial(connections.gate().delete, key)
    return request


# --- batches --------------------------------------------------------------------------------------------------------


def orders_of_every_fate(shop: CrashableShop) -> Callable[[], Work]:
    """Orders that are paid with and without a coupon, and one for each reason to fail."""
    product_id, scarce_id = make_product(stock=10, price=PRICE), make_product(stock=1, price=PRICE)
    rich, poor, late = make_user(balance=MONEY), make_user(balance=100), make_user(balance=MONEY)
    coupon, unpaid = make_coupon(rich), make_coupon(poor)
    wanted = [
        (rich, order_body(product_id, issuance_id=coupon), "paid"),
        (rich, order_body(product_id, issuance_id=coupon), "issuance_not_usable"),
        (poor, order_body(product_id, issuance_id=unpaid), "insufficient_balance"),
        (late, order_body(scarce_id, quantity=2), "out_of_stock"),
        (late, order_body(product_id), "paid"),
    ]

    def start() -> Work:
        tokens = [access_token_for(user_id=user_id) for user_id, *_ in wanted]
        answers = [
            shop.client.post("/orders", body, token=token) for token, (_, body, _) in zip(tokens, wanted, strict=True)
        ]
        order_ids = [answer.json["order_id"] for answer in answers]

        def judge() -> list[str]:
            return expect(
                fates=(statuses(order_ids), [fate for *_, fate in wanted]),
                balances=(list(map(balance_of, (rich, poor, late))), [MONEY - PRICE + OFF, 100, MONEY - PRICE]),
                stock=(list(map(stock_of, (product_id, scarce_id))), [8, 1]),
                coupons=(list(map(status_of_coupon, (coupon, unpaid))), ["used", "issued"]),
            )

        return Work(frozenset(order_ids), judge)

    return start


def claims_at_the_gate(shop: CrashableShop) -> Callable[[], Work]:
    """Three customers who got in at a gate."""
    campaign_id, user_ids = make_campaign(total=3), [make_user() for _ in range(3)]

    def start() -> Work:
        answers = [
            shop.client.post("/coupons/issue", {"coupon_id": campaign_id}, token=access_token_for(user_id=user_id))
            for user_id in user_ids
        ]
        issuance_ids = [answer.json["issuance_id"] for answer in answers]

        def judge() -> list[str]:
            rows = Issuance.objects.filter(campaign_id=campaign_id).order_by("position")
            return expect(
                issuances=(
                    list(rows.values_list("pk", "user_id", "position", "status")),
                    [(issuance_ids[n], user_ids[n], n + 1, "issued") for n in range(3)],
                ),
                issued=(Campaign.objects.get(pk=campaign_id).issued, 3),
            )

        return Work(frozenset(issuance_ids), judge)

    return start
