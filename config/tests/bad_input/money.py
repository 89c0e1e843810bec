"""B83-B116: charging, idempotency keys."""

from typing import Any

from config.tests.bad_input.rows import Made, Request, Row, post

CHARGE, ORDERS, CLAIM, CANCEL = "/balance/charge", "/orders", "/coupons/issue", "/orders/{order}/cancel"
PRODUCT, CAMPAIGN = Made("product"), Made("campaign")


def charge(literal: str) -> Request:
    return post(CHARGE, f'{{"amount": {literal}}}'.encode())


AMOUNTS: dict[int, tuple[str, ...]] = {
    83: ("0",),
    84: ("-1", "-10000000", str(-(2**63))),
    85: ("-0",),
    86: ("10000001",),
    87: (str(2**63), str(2**63 - 1), str(2**64), str(2**64 + 5), str(-(2**63) - 1)),
    89: ("1.5",),
    90: ("1.0", "5.0", "-0.0"),
    91: ("1e3", "1E3", "5e0", "1e-3"),
    95: ("true", "false"),
    96: ("null",),
    98: ('"100"', '"1_000"', '"\uff11\uff10\uff10"', '"\u0663"', '" 5"', '""', '"NaN"', '"5\' OR 1=1--"'),
    99: ("[5]", "[]", "[[5]]"),
    100: ("{}", '{"amount": 5}'),
}
UNREADABLE_AMOUNTS: dict[int, tuple[str, ...]] = {
    88: ("9" * 5_000, "-" + "9" * 5_000, "9" * 65_000),  # beyond what a double holds, orjson reads no number at all
    92: ("1e400", "-1e400", "1E999999999"),
    93: ("NaN",),
    94: ("Infinity", "-Infinity", "1_000", "\uff15", "0b1", ".5", "5."),
}
CHARGES = (
    *(
        Row(
            number=number,
            what=f"amount {literals[0][:40]}",
            status=400,
            code="invalid_input",
            pointer="/amount",
            requests=tuple(charge(literal) for literal in literals),
        )
        for number, literals in AMOUNTS.items()
    ),
    *(
        Row(
            number=number,
            what=f"amount {literals[0][:40]}",
            status=400,
            code="invalid_json",
            requests=tuple(charge(literal) for literal in literals),
        )
        for number, literals in UNREADABLE_AMOUNTS.items()
    ),
    Row(
        number=97,
        what="amount missing",
        requests=(post(CHARGE, {}), post(CHARGE, {"user_id": None})),
        status=400,
        code="invalid_input",
        pointer="/amount",
    ),
    Row(
        number=101,
        what="extra field",
        status=400,
        code="unknown_field",
        requests=tuple(
            post(CHARGE, {"amount": 5, name: 5})
            for name in ("balance", "currency", "kind", "Amount", "amount ", "", "\u0000", "a/b~c")
        ),
    ),
    Row(
        number=102,
        what="another's user_id",
        status=403,
        code="not_your_account",
        one_answer=True,
        requests=tuple(
            post(CHARGE, {"amount": 5, "user_id": user_id}) for user_id in (Made("other"), 2**62, 2**63 - 1)
        ),
    ),
    Row(
        number=103,
        what="by staff, unknown user",
        status=404,
        code="user_not_found",
        requests=(post(CHARGE, {"amount": 5, "user_id": 2**62}, who="staff"),),
    ),
    Row(
        number=104,
        what="beyond the wallet's limit",
        requests=(post(CHARGE, {"amount": 10_000_000}),),
        status=409,
        code="balance_limit_exceeded",
        facts=("limit",),
        before=(post(CHARGE, {"amount": 10_000_000}),) * 99,
    ),
)

ITEM: dict[str, Any] = {"product_id": PRODUCT, "quantity": 1}
ORDER = {"items": [ITEM]}
NEW: dict[str, str | None] = {"Idempotent-Replayed": None}
REPLAYED: dict[str, str | None] = {"Idempotent-Replayed": "true"}


def keyed(key: str, *, who: str = "customer") -> tuple[Request, ...]:
    """Return one good request to every address that takes a key."""
    bodies: dict[str, Any] = {CHARGE: {"amount": 5}, ORDERS: ORDER, CLAIM: {"coupon_id": CAMPAIGN}, CANCEL: {}}
    return tuple(post(path, body, who=who, Idempotency_Key=key) for path, body in bodies.items())


FIRST = post(CHARGE, {"amount": 5}, Idempotency_Key="k")
KEYS = (
    Row(
        number=105,
        what="no key",
        requests=(post(CHARGE, {"amount": 5}),) * 2,
        status=200,
        headers=NEW,
        charged=10,
    ),
    Row(number=106, what="empty key", requests=keyed(""), status=400, code="invalid_input", pointer="Idempotency-Key"),
    Row(
        number=107,
        what="key of 256 characters",
        requests=keyed("k" * 256),
        status=400,
        code="invalid_input",
        pointer="Idempotency-Key",
    ),
    Row(
        number=108,
        what="control or non-ASCII characters",
        status=400,
        code="invalid_input",
        pointer="Idempotency-Key",
        requests=tuple(request for key in ("a\tb", "k\u00e9y", "k\xa0y", "\u00ff") for request in keyed(key)),
    ),
    Row(
        number=109,
        what="same key, other body",
        status=422,
        code="idempotency_key_reused",
        headers=NEW,
        before=keyed("k")[:3],
        requests=(
            post(CHARGE, {"amount": 6}, Idempotency_Key="k"),
            post(ORDERS, {"items": [ITEM | {"quantity": 2}]}, Idempotency_Key="k"),
            post(CLAIM, {"coupon_id": Made("other_campaign")}, Idempotency_Key="k"),
        ),
    ),
    Row(
        number=110,
        what="same key, other spacing",
        before=(FIRST,),
        status=200,
        headers=REPLAYED,
        one_answer=True,
        requests=tuple(
            post(CHARGE, body, Idempotency_Key="k")
            for body in (
                b'{"amount":5}',
                b' { "amount" : 5 }\n',
                b'{"user_id": null, "amount": 5}',
                b'{"\\u0061mount":5}',
            )
        ),
    ),
    Row(
        number=111,
        what="same key, other route",
        before=(FIRST,),
        status=202,
        headers=NEW,
        charged=-1_000,
        requests=(post(ORDERS, ORDER, Idempotency_Key="k"), post(CLAIM, {"coupon_id": CAMPAIGN}, Idempotency_Key="k")),
    ),
    Row(
        number=112,
        what="same key, other user",
        before=(FIRST,),
        status=200,
        headers=NEW,
        requests=(post(CHARGE, {"amount": 5}, who="other", Idempotency_Key="k"),),
    ),
    Row(
        number=113,
        what="while the first runs",
        requests=(FIRST,),
        status=409,
        code="idempotency_key_in_flight",
        headers={"Retry-After": r"[1-9]\d*"},
        scenario="in_flight",
        charged=5,
        may_change=("balance_transfer", "balance_wallet", "shop_idempotencyrecord"),
    ),
    Row(
        number=114,
        what="after a 400, corrected",
        status=200,
        headers=NEW,
        requests=(FIRST,),
        charged=5,
        before=(post(CHARGE, {"amount": 0}, Idempotency_Key="k"),),
        before_status=400,
    ),
    Row(
        number=115,
        what="after a refusal",
        status=409,
        code="coupon_sold_out",
        headers=REPLAYED,
        before_status=409,
        before=(post(CLAIM, {"coupon_id": Made("empty_campaign")}, Idempotency_Key="k"),),
        requests=(post(CLAIM, {"coupon_id": Made("empty_campaign")}, Idempotency_Key="k"),),
    ),
    Row(number=116, what="after a 503", requests=(FIRST,), status=200, headers=NEW, scenario="after_busy", charged=5),
)

ROWS = (*CHARGES, *KEYS)
