"""B117-B153: orders, cancelling, coupons."""

from typing import Any

from config.tests.bad_input.money import CAMPAIGN, CANCEL, CLAIM, ITEM, ORDERS
from config.tests.bad_input.rows import Made, Request, Row, post


def order(items: object, **more: object) -> Request:
    return post(ORDERS, {"items": items, **more})


def with_quantity(quantity: object) -> Request:
    return order([ITEM | {"quantity": quantity}])


def of_product(product_id: object) -> Request:
    return order([ITEM | {"product_id": product_id}])


BAD_ITEMS: dict[int, tuple[str, tuple[Request, ...]]] = {
    117: ("items missing", (post(ORDERS, {}), post(ORDERS, {"issuance_id": None}), order(None))),
    118: ("items []", (order([]),)),
    119: ("items an object", (order({}), order(ITEM), order("x"), order(1), order(True))),
    120: ("51 items", (order([{"product_id": number, "quantity": 1} for number in range(1, 52)]),)),
    121: ("items [null]", (order([None]), order([[]]), order(["x"]), order([{}]), order([ITEM, None]))),
    122: ("quantity 0", (with_quantity(0),)),
    123: ("quantity -1", (with_quantity(-1),)),
    124: ("quantity 1001", (with_quantity(1_001), with_quantity(2**63), with_quantity(10**30))),
    125: ("quantity true", (with_quantity(True), with_quantity(None), with_quantity([1]), with_quantity({}))),
    126: ('quantity "1"', (with_quantity("1"), with_quantity("\uff11"))),
    127: ("quantity 1.0", (with_quantity(1.0), with_quantity(1.5))),
    128: ("product_id 0", tuple(of_product(value) for value in (0, -1, None, True, 1.5))),
    129: ("product_id of text", (of_product("1 OR 1=1"), of_product("1"))),
    130: ("product_id 10^22", (of_product(10**22), of_product(2**63), of_product(-(10**22)))),
}
NOTHING_TAKEN = ("orders_order", "orders_orderline", "orders_orderhistory", "catalog_stockmovement")


def with_coupons(*issuances: object) -> tuple[Request, ...]:
    return tuple(order([ITEM], issuance_id=issuance) for issuance in issuances)


def failing(number: int, what: str, failure: str, item: dict[str, Any], issuance: object = None) -> Row:
    """Return an order that is accepted, fails, and gives everything back."""
    return Row(
        number=number,
        what=what,
        requests=(order([ITEM, item], issuance_id=issuance),),
        status=202,
        failure=failure,
        scenario="settles",
        may_change=NOTHING_TAKEN,
    )


PLACING_ORDERS = (
    *(
        Row(number=number, what=what, requests=requests, status=400, code="invalid_input", pointer="/items.*")
        for number, (what, requests) in BAD_ITEMS.items()
    ),
    Row(
        number=131,
        what="unknown or hidden product",
        status=404,
        code="product_not_found",
        requests=tuple(
            order([ITEM, {"product_id": missing, "quantity": 1}]) for missing in (Made("hidden"), 2**62, 2**63 - 1)
        ),
    ),
    Row(
        number=132,
        what="same product twice",
        requests=(order([ITEM, ITEM]),),
        status=400,
        code="duplicate_item",
        pointer="/items/1/product_id",
    ),
    Row(
        number=133,
        what="extra price, total, status",
        status=400,
        code="unknown_field",
        requests=tuple(
            request
            for name in ("price", "total", "status", "discount", "user_id", "unit_price")
            for request in (order([ITEM], **{name: 1}), order([ITEM | {name: 1}]))
        ),
    ),
    Row(
        number=134,
        what="malformed issuance_id",
        status=400,
        code="invalid_input",
        pointer="/issuance_id",
        requests=with_coupons("abc", "1", 0, -1, 1.0, True, [1], {}, 2**63, 10**30),
    ),
    Row(
        number=135,
        what="another's coupon, or none",
        status=409,
        code="issuance_not_usable",
        one_answer=True,
        requests=with_coupons(Made("others_coupon"), 2**62, Made("others_pending_coupon"), 1),
    ),
    Row(
        number=136,
        what="used coupon",
        status=409,
        code="issuance_not_usable",
        one_answer=True,
        requests=with_coupons(Made("used_coupon"), 2**62),
    ),
    Row(
        number=137,
        what="expired coupon",
        status=409,
        code="issuance_not_usable",
        one_answer=True,
        requests=with_coupons(Made("expired_coupon"), 2**62),
    ),
    failing(138, "too little balance", "insufficient_balance", {"product_id": Made("dear_product"), "quantity": 2}),
    failing(139, "too little stock", "out_of_stock", {"product_id": Made("scarce_product"), "quantity": 3}),
    failing(
        140,
        "below min_order_amount",
        "issuance_not_usable",
        {"product_id": Made("other_product"), "quantity": 1},
        issuance=Made("demanding_coupon"),
    ),
)

CANCELLING = (
    Row(
        number=141,
        what="cancel a pending order",
        requests=(post("/orders/{pending}/cancel"),),
        status=409,
        code="order_not_cancellable",
        scenario="while_pending",
        charged=-1_000,
        may_change=(*NOTHING_TAKEN, "balance_transfer", "balance_wallet", "catalog_stock", "catalog_dailysales"),
    ),
    Row(
        number=142,
        what="cancel twice",
        before=(post(CANCEL),),
        requests=(post(CANCEL), post(CANCEL, {})),
        status=409,
        code="order_not_cancellable",
    ),
    Row(
        number=143,
        what="cancel another's",
        status=404,
        code="order_not_found",
        one_answer=True,
        requests=(post("/orders/{others_order}/cancel"), post(f"/orders/{2**62}/cancel"), post(CANCEL, who="staff")),
    ),
    Row(
        number=144,
        what="cancel with extra fields",
        status=400,
        code="unknown_field",
        requests=(post(CANCEL, {"reason": "x"}), post(CANCEL, {"amount": 1}), post(CANCEL, {"status": "paid"})),
    ),
)


def claim(campaign: object, who: str = "customer") -> Request:
    return post(CLAIM, {"coupon_id": campaign}, who=who)


CLAIMS = (
    Row(number=145, what="coupon_id missing", requests=(post(CLAIM, {}),), status=400, code="invalid_input"),
    Row(number=146, what='coupon_id "1"', requests=(claim("1"), claim("' OR 1=1--")), status=400, code="invalid_input"),
    Row(
        number=147,
        what="coupon_id true",
        status=400,
        code="invalid_input",
        pointer="/coupon_id",
        requests=tuple(claim(value) for value in (True, None, 0, -1, 1.0, 2**63, 10**30, [1], {"id": 1})),
    ),
    Row(
        number=148,
        what="unknown campaign",
        requests=(claim(2**62), claim(2**63 - 1)),
        status=404,
        code="coupon_not_found",
    ),
    Row(
        number=149,
        what="too early",
        requests=(claim(Made("early_campaign")),),
        status=409,
        code="coupon_not_open",
        facts=("opens_at",),
    ),
    Row(number=150, what="too late", requests=(claim(Made("late_campaign")),), status=409, code="coupon_closed"),
    Row(
        number=151,
        what="again",
        before=(claim(CAMPAIGN),),
        requests=(claim(CAMPAIGN),) * 2,
        status=409,
        code="coupon_already_issued",
        facts=("issuance_id",),
        one_answer=True,
    ),
    Row(
        number=152,
        what="again when sold out",
        before=(claim(Made("last_coupon")),),
        requests=(claim(Made("last_coupon")),),
        status=409,
        code="coupon_already_issued",
        facts=("issuance_id",),
    ),
    Row(
        number=153,
        what="sold out",
        before=(claim(Made("last_coupon"), who="other"),),
        requests=(claim(Made("last_coupon")),),
        status=409,
        code="coupon_sold_out",
    ),
)

ROWS = (*PLACING_ORDERS, *CANCELLING, *CLAIMS)
