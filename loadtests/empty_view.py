"""
An empty Django view: what the shop's capacity and costs are compared with.

Django's own handler with the API's middleware in front of a view that does nothing, served by the same server, with as
many processes and threads as the shop. Only `loadtests.empty_server` starts it; nothing in production names it.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config.wsgi import HandlerWith

BODY = b"{}"


def empty(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(BODY, content_type="application/json")


urlpatterns = [path("empty", empty)]
settings.ROOT_URLCONF = __name__
application = HandlerWith(settings.API_MIDDLEWARE)
