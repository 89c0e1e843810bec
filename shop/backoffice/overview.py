"""
The cards of the first page. Each room registers its own; the kernel knows none of them.

A card may read an index up to a limit, never a whole table: the page must open in the middle of a rush.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from shop.backoffice.lists import count_up_to

COUNTED_UP_TO = 10_000


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with its name, the list behind it and the permission to see that list."""

    title: Any
    icon: str
    figure: Callable[[datetime], str]
    list_name: str
    permission: str
    query: str = ""

    def address(self) -> str:
        return reverse(f"admin:{self.list_name}_changelist") + self.query


_cards: list[Card] = []


def register_card(card: Card) -> None:
    """Put a card on the first page; called once by the admin module of its room."""
    _cards.append(card)


def limited(queryset: QuerySet[Any]) -> str:
    """Return the number of rows, or "10,000+" when there are more."""
    return at_most(count_up_to(queryset, COUNTED_UP_TO + 1))


def at_most(counted: int) -> str:
    """Write a number that was counted up to COUNTED_UP_TO + 1."""
    return f"{COUNTED_UP_TO:,}+" if counted > COUNTED_UP_TO else f"{counted:,}"


def with_cards(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the cards this user may see to the first page."""
    now = timezone.now()
    rooms = [config.label for config in apps.get_app_configs()]
    shown = [card for card in _cards if request.user.has_perm(card.permission)]
    shown.sort(key=lambda card: rooms.index(card.list_name.partition("_")[0]), reverse=True)
    cards = [{"title": c.title, "icon": c.icon, "figure": c.figure(now), "address": c.address()} for c in shown]
    return context | {"cards": cards}


def today_in_shop(now: datetime) -> datetime:
    """Return when the shop's calendar day began."""
    return timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
