"""How orders look in the OpenAPI document."""

from catalog.errors import ProductNotFound
from coupons.errors import IssuanceNotUsable
from orders import api
from orders.errors import FAILURES, OrderNotCancellable, OrderNotFound
from orders.states import Status
from shop.errors import DuplicateItem, InvalidCursor, TooManyRequests
from shop.inputs import EMPTY
from shop.openapi import (
    CURRENCY,
    ID,
    LIST_NOTES,
    MONEY,
    POSITIVE,
    TEXT,
    TIME,
    Answer,
    Operation,
    array,
    describe,
    listing,
    nullable,
    one_of,
    record,
)

STATUS = one_of(Status.values)
TOTAL = MONEY | {"minimum": 0}
ACCEPTED = record(
    "AcceptedOrder",
    order_id=ID,
    status={"const": Status.PENDING.value},
    subtotal=TOTAL,
    currency=CURRENCY,
    created_at=TIME,
)
ORDER = record(
    "Order",
    about="Prices are those at acceptance. Settled when `paid`, `failed` or `cancelled`.",
    order_id=ID,
    status=STATUS,
    failure=nullable(record("OrderFailure", code=one_of(FAILURES), detail=TEXT)),
    items=array(
        record("OrderLine", product_id=ID, name=TEXT, unit_price=TOTAL, quantity=POSITIVE, amount=TOTAL),
        minItems=1,
        maxItems=api.MAX_ITEMS,
    ),
    subtotal=TOTAL,
    discount=TOTAL,
    total=TOTAL,
    currency=CURRENCY,
    issuance_id=nullable(ID),
    created_at=TIME,
    settled_at=nullable(TIME),
    history=array(record("OrderStep", status=STATUS, at=TIME, reason=TEXT), minItems=1),
)

describe(
    api.Orders,
    "post",
    Operation(
        name="place_order",
        tag="Orders",
        body=api.ORDER,
        takes_key=True,
        answers=(Answer(202, "Accepted.", ACCEPTED, ("Cache-Control", "Location", "Retry-After")),),
        failures=(DuplicateItem, ProductNotFound, IssuanceNotUsable, TooManyRequests),
    ),
)
describe(
    api.Orders,
    "get",
    Operation(
        name="list_orders",
        tag="Orders",
        query=api.LIST_PARAMETERS,
        notes=LIST_NOTES,
        answers=(Answer(200, "A page of orders.", listing("Orders", ORDER), ("Cache-Control", "Link")),),
        failures=(InvalidCursor,),
    ),
)
describe(
    api.ShowOrder,
    "get",
    Operation(
        name="show_order",
        tag="Orders",
        answers=(Answer(200, "The order.", ORDER),),
        failures=(OrderNotFound,),
    ),
)
describe(
    api.CancelOrder,
    "post",
    Operation(
        name="cancel_order",
        tag="Orders",
        body=EMPTY,
        takes_key=True,
        answers=(Answer(200, "The cancelled order.", ORDER),),
        failures=(OrderNotFound, OrderNotCancellable),
    ),
)
