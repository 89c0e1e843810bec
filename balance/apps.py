from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from shop.registry import on_signup


class BalanceConfig(AppConfig):
    name = "balance"
    verbose_name = _("Balance")

    def ready(self) -> None:
        from balance import operations  # noqa: PLC0415 - models exist only now

        on_signup.append(operations.open_wallet)
