"""An operator at the admin: what the tests of its actions share."""

import uuid
from html.parser import HTMLParser
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


class _Form(HTMLParser):
    """Collects what a browser would send of a page's form."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._text = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "textarea":
            self._text, self.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.fields[self._select] = value
        elif tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[name] = value or ("on" if given.get("type") == "checkbox" else "")

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._text] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        self._text = "" if tag == "textarea" else self._text


def shown(page: Any) -> dict[str, str]:
    """Return the fields of a page's form as they are shown, hidden ones included, buttons not."""
    form = _Form()
    form.feed(page.text)
    return {name: value for name, value in form.fields.items() if not name.startswith("_")}


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def history() -> list[tuple[str | None, str]]:
    return list(LogEntry.objects.order_by("pk").values_list("content_type__model", "change_message"))


def permissions(app_label: str, *names: str) -> Any:
    return Permission.objects.filter(content_type__app_label=app_label, codename__in=names)
