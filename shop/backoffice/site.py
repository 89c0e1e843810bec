"""The admin site: the shop's time zone on every page, a language switch, cards on the first page."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.i18n import set_language
from unfold.sites import UnfoldAdminSite

from shop import db
from shop.backoffice.login import LimitedLoginForm
from shop.backoffice.refusals import explain

View = Callable[..., HttpResponseBase]


def in_shop_time(view: View) -> View:
    """Show times in the shop's zone, for this one response: the thread serves the API next, which speaks UTC."""

    def shown(*args: Any, **kwargs: Any) -> HttpResponseBase:
        with timezone.override(settings.SHOP_TIME_ZONE):
            response = view(*args, **kwargs)
            # Rendered here, because a template response is otherwise rendered after the zone is gone.
            return response.render() if isinstance(response, SimpleTemplateResponse) else response

    return update_wrapper(shown, view)


def never_500_when_busy(view: View) -> View:
    """Answer a lock or statement time-out and a lost database as what they are: come back shortly."""

    def answered(*args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(*args, **kwargs)
        except db.TROUBLE as error:
            return HttpResponse(
                explain(error), status=503, content_type="text/plain; charset=utf-8", headers={"Retry-After": "3"}
            )

    return update_wrapper(answered, view)


class ShopAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # the theme is not typed
    login_form = LimitedLoginForm
    index_title = _("Overview")
    index_template = "admin/shop/overview.html"
    enable_nav_sidebar = True

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return never_500_when_busy(in_shop_time(super().admin_view(view, cacheable)))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [path("language/", set_language, name="set_language"), *super().get_urls()]
