from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = _("Shop")

    def ready(self) -> None:
        from shop import converters, lookups  # noqa: F401, PLC0415 - they register themselves; needs the app registry

        post_migrate.connect(give_rights, sender=self)  # once per `migrate`, when all apps' tables are there


def give_rights(**_: Any) -> None:
    """Give PostgreSQL's roles their rights on what the migrations have made. Raises CannotGrant."""
    from shop import roles  # noqa: PLC0415 - likewise

    roles.grant_configured()
