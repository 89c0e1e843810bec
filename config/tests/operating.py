"""An operator at the admin: what the tests of its actions share."""

import uuid
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

import config.admin_urls  # noqa: F401 - registers every page
from shop.models import User


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def send(client: Client, address: str, **fields: Any) -> Any:
    """Send an action's form as the page would, with a key of its own, and follow to the page after it."""
    return client.post(address, {"key": str(uuid.uuid4()), "reason": "a customer asked"} | fields, follow=True)


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def history() -> list[tuple[str | None, str]]:
    return list(LogEntry.objects.order_by("pk").values_list("content_type__model", "change_message"))


def permissions(app_label: str, *names: str) -> Any:
    return Permission.objects.filter(content_type__app_label=app_label, codename__in=names)
