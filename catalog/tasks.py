"""What the clock makes the catalogue do."""

from celery import shared_task
from django.utils import timezone

from catalog import flows


@shared_task(name="catalog.refresh_popularity")
def refresh_popularity(**_: object) -> None:
    flows.refresh_popularity(now=timezone.now())
