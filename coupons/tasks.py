"""Wake-ups of the coupon worker. Each may run never, twice, late or at once."""

from celery import shared_task
from django.utils import timezone

from coupons import flows
from shop import db, pipeline

RECORD_CLAIMS = pipeline.Stage(
    name=flows.RECORD_CLAIMS,
    flow=flows.record_claims,
    first_waiting=flows.first_unrecorded,
    # By name; an order may wait for its coupon, but in a rush of claims hardly any does.
    then_if_waiting=("orders.redeem_coupons",),
)
EXPIRED_AT_ONCE = 1_000


@shared_task(name=flows.RECORD_CLAIMS)
def record_claims(**_: object) -> None:
    pipeline.drain(RECORD_CLAIMS)


@shared_task(name="coupons.check_gates")
def check_gates(**_: object) -> None:
    flows.check_gates(now=timezone.now())


@shared_task(name="coupons.expire_issuances")
def expire_issuances(**_: object) -> None:
    flows.expire_issuances(limit=EXPIRED_AT_ONCE, now=db.clock())  # a worker ahead of time would take coupons away
