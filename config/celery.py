"""The Celery application: broker settings of web and worker, kombu-declared queues, what the clock does."""

from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
