"""What the kernel shows about the pipeline: items set aside and how fresh each stage's last batch is."""

from collections.abc import Iterable

from django.db.models import Count
from django.utils import timezone

from shop import health
from shop.metrics import Reading, gauge
from shop.models import ParkedItem


@gauge
def parked_items() -> Iterable[Reading]:
    rows = ParkedItem.objects.values_list("stage").annotate(Count("pk"))
    for stage, count in rows:
        yield "shop_parked_items", "Items set aside by a stage", {"stage": stage}, count


@gauge
def worker_heartbeat() -> Iterable[Reading]:
    seen_at = health.last_heartbeat()
    if seen_at is not None:
        age = (timezone.now() - seen_at).total_seconds()
        yield "shop_worker_heartbeat_age_seconds", "Since a worker last ran a task", {}, age
