"""Wake-ups of the order pipeline. Each may run never, twice, late or at once."""

from functools import partial

from celery import shared_task

from orders import flows, queries
from orders.states import Status
from shop import pipeline, wakeups

RESERVE_STOCK = pipeline.Stage(
    name=flows.RESERVE_STOCK,
    flow=flows.reserve_stock,
    first_waiting=partial(queries.first_waiting, Status.PENDING),
    then=(flows.TAKE_PAYMENTS,),
    then_if_waiting=(flows.REDEEM_COUPONS,),
)
REDEEM_COUPONS = pipeline.Stage(
    name=flows.REDEEM_COUPONS,
    flow=flows.redeem_coupons,
    first_waiting=partial(queries.first_waiting, Status.STOCK_RESERVED),
    then=(flows.TAKE_PAYMENTS,),
)
TAKE_PAYMENTS = pipeline.Stage(
    name=flows.TAKE_PAYMENTS,
    flow=flows.take_payments,
    first_waiting=partial(queries.first_waiting, Status.COUPON_APPLIED),
)
RELEASE = pipeline.Stage(name=flows.RELEASE, flow=flows.release, first_waiting=partial(queries.first_waiting, None))
STAGES = (RESERVE_STOCK, REDEEM_COUPONS, TAKE_PAYMENTS, RELEASE)


@shared_task(name=flows.RESERVE_STOCK)
def reserve_stock(**_: object) -> None:
    pipeline.drain(RESERVE_STOCK)


@shared_task(name=flows.REDEEM_COUPONS)
def redeem_coupons(**_: object) -> None:
    pipeline.drain(REDEEM_COUPONS)


@shared_task(name=flows.TAKE_PAYMENTS)
def take_payments(**_: object) -> None:
    pipeline.drain(TAKE_PAYMENTS)


@shared_task(name=flows.RELEASE)
def release(**_: object) -> None:
    pipeline.drain(RELEASE)


@shared_task(name="orders.sweep")
def sweep(**_: object) -> None:
    wakeups.publish(*(stage.name for stage in STAGES))
