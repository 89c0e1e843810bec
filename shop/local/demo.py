"""The first users of an empty shop, whose logins `up` prints: a demo customer and an operator."""

import secrets

from django.contrib.auth import get_user_model
from django.utils import timezone

from shop import seeding
from shop.local.services import Services


def is_empty() -> bool:
    """Tell whether nobody uses this shop yet."""
    return not get_user_model().objects.exists()


def seed(services: Services) -> None:
    """Fill the empty shop; the logins are on disk before the users exist, so a crash in between loses none."""
    passwords = {role: secrets.token_urlsafe(12) for role in ("customer", "operator")}
    services.put(
        customer={"username": "demo", "password": passwords["customer"]},
        operator={"username": "operator", "password": passwords["operator"]},
    )
    seeding.seed_demo(demo_password=passwords["customer"], operator_password=passwords["operator"], now=timezone.now())
