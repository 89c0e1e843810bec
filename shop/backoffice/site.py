"""The admin site: the shop's time zone on every page, a language switch, cards on the first page."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.i18n import set_language
from unfold.sites import UnfoldAdminSite

from shop import db
from shop.backoffice import second_factor
from shop.backoffice.login import LimitedLoginForm
from shop.backoffice.refusals import explain
from shop.errors import DependencyUnavailable, InvalidInput

View = Callable[..., HttpResponseBase]


def in_shop_time(view: View) -> View:
    """Show times in the shop's zone, for this one response: the thread serves the API next, which speaks UTC."""

    def shown(*args: Any, **kwargs: Any) -> HttpResponseBase:
        with timezone.override(settings.SHOP_TIME_ZONE):
            response = view(*args, **kwargs)
            # Rendered here, because a template response is otherwise rendered after the zone is gone.
            return response.render() if isinstance(response, SimpleTemplateResponse) else response

    return update_wrapper(shown, view)


PLAIN_TEXT = "text/plain; charset=utf-8"


def never_500(view: View) -> View:
    """Answer time-outs and lost engines as what they are, come back shortly, and what cannot be stored with 400."""

    def answered(*args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(*args, **kwargs)
        except db.TROUBLE as error:
            return HttpResponse(explain(error), status=503, content_type=PLAIN_TEXT, headers={"Retry-After": "3"})
        except redis.RedisError:
            said = explain(DependencyUnavailable())
            return HttpResponse(said, status=503, content_type=PLAIN_TEXT, headers={"Retry-After": "3"})
        except DataError:
            return HttpResponse(explain(InvalidInput(errors=[])), status=400, content_type=PLAIN_TEXT)

    return update_wrapper(answered, view)


class ShopAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # the theme is not typed
    login_form = LimitedLoginForm
    login_template = "admin/shop/login.html"
    index_title = _("Overview")
    index_template = "admin/shop/overview.html"
    enable_nav_sidebar = True

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return never_500(in_shop_time(super().admin_view(view, cacheable)))

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(super().has_permission(request)) and second_factor.is_satisfied(request)

    @never_500
    @in_shop_time
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Lead operators who must set up a second factor there: until then every page sends them here."""
        lacks_it = super().has_permission(request) and not self.has_permission(request)
        if request.method == "GET" and lacks_it and second_factor.may_enrol(request):
            return HttpResponseRedirect(reverse("admin:second_factor"))
        response: HttpResponseBase = super().login(request, extra_context)
        return response

    def second_factor(self, request: HttpRequest) -> HttpResponseBase:
        """Let operators set up their second factor, also those who may see nothing before they have."""
        if not super().has_permission(request) or not second_factor.may_enrol(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return second_factor.enrolment_page(self, request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        enrol = in_shop_time(never_500(never_cache(csrf_protect(self.second_factor))))
        return [
            path("language/", set_language, name="set_language"),
            path("second-factor/", enrol, name="second_factor"),
            *super().get_urls(),
        ]
