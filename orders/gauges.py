"""What Prometheus sees of the order pipeline."""

from collections.abc import Iterable

from django.db.models import Count, Min
from django.utils import timezone

from orders.models import Order
from orders.states import UNSETTLED
from shop.metrics import Reading, gauge


@gauge
def unsettled_orders() -> Iterable[Reading]:
    now = timezone.now()
    counted = Order.objects.filter(status__in=UNSETTLED).values_list("status").annotate(Count("pk"), Min("created_at"))
    rows = {status: (count, oldest) for status, count, oldest in counted}
    for status in UNSETTLED:
        count, oldest = rows.get(status, (0, now))
        yield "shop_unsettled_orders", "Orders that wait for the pipeline", {"status": status.value}, count
        age = (now - oldest).total_seconds()
        yield "shop_oldest_unsettled_seconds", "Age of the oldest order that waits", {"status": status.value}, age
