"""What Prometheus sees of the coupon gate."""

from collections.abc import Iterable

from coupons import gate
from shop.metrics import Reading, gauge


@gauge
def claim_backlog() -> Iterable[Reading]:
    yield "shop_coupon_claims_waiting", "Claims at the gate that PostgreSQL has not recorded", {}, gate.backlog()
