"""How coupons look in the OpenAPI document."""

from coupons import api
from coupons.errors import (
    CouponAlreadyIssued,
    CouponClosed,
    CouponNotFound,
    CouponNotOpen,
    CouponSoldOut,
    IssuanceNotFound,
)
from coupons.models import DiscountType
from coupons.states import PENDING, Status
from shop import cursors
from shop.errors import InvalidCursor, TooManyRequests
from shop.openapi import (
    COUNT,
    ID,
    LIST_NOTES,
    MONEY,
    POSITIVE,
    TEXT,
    TIME,
    Answer,
    Operation,
    cached,
    describe,
    listing,
    nullable,
    one_of,
    record,
)

CAMPAIGN = record(
    "Coupon",
    about="A campaign: what the shop offers.",
    id=ID,
    name=TEXT,
    discount_type=one_of(DiscountType.values),
    discount_value=POSITIVE | {"description": "Minor units if `fixed`, per cent if `percent`."},
    max_discount=nullable(MONEY | {"minimum": 1}),
    min_order_amount=MONEY | {"minimum": 0},
    total_quantity=COUNT,
    remaining=COUNT,
    opens_at=TIME,
    closes_at=TIME,
)
CLAIMED = record("Claimed", issuance_id=ID, coupon_id=ID, status={"const": PENDING}, position=POSITIVE)
ISSUANCE = record(
    "Issuance",
    about="One user's copy of a coupon. `issued` means it is theirs for good; `position` is the place in line.",
    issuance_id=ID,
    coupon_id=ID,
    status=one_of([PENDING, *Status.values]),
    position=nullable(POSITIVE),
    issued_at=nullable(TIME),
    expires_at=nullable(TIME),
    used_at=nullable(TIME),
    order_id=nullable(ID),
)

describe(
    api.ListCampaigns,
    "get",
    Operation(
        name="list_coupons",
        tag="Coupons",
        query=cursors.PAGE_PARAMETERS,
        notes=LIST_NOTES,
        is_cached=True,
        answers=cached("A page of campaigns.", listing("Coupons", CAMPAIGN), listed=True),
        failures=(InvalidCursor,),
    ),
)
describe(
    api.ShowCampaign,
    "get",
    Operation(
        name="show_coupon",
        tag="Coupons",
        is_cached=True,
        answers=cached("The campaign.", CAMPAIGN),
        failures=(CouponNotFound,),
    ),
)
describe(
    api.ClaimCoupon,
    "post",
    Operation(
        name="issue_coupon",
        tag="Coupons",
        body=api.CLAIM,
        takes_key=True,
        answers=(Answer(202, "You have a place.", CLAIMED, ("Cache-Control", "Location", "Retry-After")),),
        failures=(CouponNotFound, CouponSoldOut, CouponAlreadyIssued, CouponNotOpen, CouponClosed, TooManyRequests),
    ),
)
describe(
    api.ShowIssuance,
    "get",
    Operation(
        name="show_issuance",
        tag="Coupons",
        answers=(Answer(200, "The issuance.", ISSUANCE),),
        failures=(IssuanceNotFound,),
    ),
)
describe(
    api.ListIssuances,
    "get",
    Operation(
        name="list_issuances",
        tag="Coupons",
        query=api.OWN_PARAMETERS,
        notes=LIST_NOTES,
        answers=(Answer(200, "A page of issuances.", listing("Issuances", ISSUANCE), ("Cache-Control", "Link")),),
        failures=(InvalidCursor,),
    ),
)
