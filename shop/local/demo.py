"""The first users of an empty shop, whose logins `up` prints: a demo customer and an operator."""

import secrets
from typing import TypedDict

from django.contrib.auth import get_user_model


class Login(TypedDict):
    """A user name and the password that was made for it."""

    username: str
    password: str


class Logins(TypedDict):
    """The logins `up` keeps in the services file."""

    customer: Login
    operator: Login


def is_empty() -> bool:
    """Tell whether nobody uses this shop yet."""
    return not get_user_model().objects.exists()


def seed() -> Logins:
    """Make the demo customer and the operator."""
    customer = Login(username="demo", password=secrets.token_urlsafe(12))
    operator = Login(username="operator", password=secrets.token_urlsafe(12))
    users = get_user_model().objects
    users.create_user(**customer)
    users.create_superuser(**operator)
    return Logins(customer=customer, operator=operator)
