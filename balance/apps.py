from django.apps import AppConfig

from shop.registry import on_signup


class BalanceConfig(AppConfig):
    name = "balance"
    verbose_name = "Balance"

    def ready(self) -> None:
        from balance import operations  # noqa: PLC0415 - models exist only now

        on_signup.append(operations.open_wallet)
