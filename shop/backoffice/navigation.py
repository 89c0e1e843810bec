"""The side bar: the rooms from the outside in, each with the models this user may see."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the side bar's groups; `orders` first, because INSTALLED_APPS lists the rooms from the inside out."""
    rooms = [config.label for config in apps.get_app_configs()]
    listed = sorted(admin.site.get_app_list(request), key=lambda app: rooms.index(app["app_label"]), reverse=True)
    first = {"items": [{"title": _("Overview"), "icon": "dashboard", "link": reverse("admin:index")}]}
    return [first, *({"title": app["name"], "separator": True, "items": _items(app)} for app in listed)]


def _items(app: dict[str, Any]) -> list[dict[str, Any]]:
    pages: dict[Any, Any] = admin.site._registry
    order = list(pages)  # an admin module registers its most used page first
    entries = sorted(app["models"], key=lambda entry: order.index(entry["model"]))
    return [
        {"title": entry["name"], "link": entry["admin_url"], "icon": pages[entry["model"]].icon}
        for entry in entries
        if entry["admin_url"]
    ]


def language_address(request: HttpRequest) -> str:
    """Return where the language switch posts to."""
    return reverse("admin:set_language")


def environment_badge(request: HttpRequest) -> list[str]:
    """Return text and tone of the badge beside the title: nobody should take one installation for another."""
    return [_("Production"), "danger"] if settings.BEHIND_PROXY else [_("Local"), "info"]


def favicon_address(request: HttpRequest) -> str:
    """Return the address of the tab's icon."""
    return static("shop/favicon.svg")


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """Return what the menu under the user's name leads to."""
    links = [{"title": _("Change password"), "link": reverse("admin:password_change")}]
    if settings.ADMIN_TOTP != "off":
        links.append({"title": _("Second factor"), "link": reverse("admin:second_factor")})
    return links
