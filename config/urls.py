"""Every address of the shop: each room brings its own."""

from django.urls import URLResolver, include, path
from django.urls.resolvers import RoutePattern
from django.views.generic import RedirectView

import shop.converters  # registers <id64:> and <digits:>
from config import docs

__all__ = ["handler400", "handler404", "handler500", "shop", "urlpatterns"]

urlpatterns = [
    path("", include("catalog.urls")),
    path("", include("balance.urls")),
    path("", include("coupons.urls")),
    path("", include("orders.urls")),
    path("", include("shop.urls")),
    path("openapi.json", docs.openapi),
    path("docs", docs.interactive),
    path("docs/problems", docs.problems),
    # By name and not by include(), which would import every admin module before the first API request.
    URLResolver(RoutePattern("admin/"), "config.admin_urls", app_name="admin", namespace="admin"),
    path("admin", RedirectView.as_view(url="/admin/")),
]
handler400 = "shop.problems.bad_request"
handler404 = "shop.problems.not_found"
handler500 = "shop.problems.server_error"
