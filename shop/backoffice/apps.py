"""
How Django finds the admin: late.

The theme's own AppConfig builds a site in every process, and Django's would import every admin module. With these two
an API process or a worker imports neither; the admin's URLs do, on the first request for a page of it.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class ThemeConfig(AppConfig):
    name = "unfold"


def check_backoffice(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Import the admin modules before they are checked, or Django would check an empty site and find it in order."""
    autodiscover()
    return check_admin_app(app_configs, **kwargs)


class BackofficeConfig(SimpleAdminConfig):
    default_site = "shop.backoffice.site.ShopAdminSite"

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_backoffice, checks.Tags.admin)
