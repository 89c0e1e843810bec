"""
The WSGI application: `/livez` before anything else, then a lean handler for the API and a full one for the admin.

Two handlers, because the API needs none of what the admin needs (sessions, CSRF, messages, locale): those middlewares
cost two to four times an empty view (DESIGN.md "What each request may cost").
"""

import gc
import os
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, cast

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, get_resolver

from config import headers
from shop import admission, logs, pulse, ready, revocations
from shop.health import ALIVE
from shop.middleware import request_id_of
from shop.ready import Ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)
logs.set_up()

ALIVE_HEADERS = [  # as shop.api.Liveness, which answers the other methods
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(ALIVE))),
    ("Cache-Control", "no-store"),
    *headers.of("/livez"),
]
ADMIN_PATHS = ("/admin", "/static/")


class HandlerWith(WSGIHandler):
    """Django's handler with a middleware list of its own instead of `settings.MIDDLEWARE`."""

    def __init__(self, middleware: list[str]) -> None:
        self.middleware = middleware
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        everything = settings.MIDDLEWARE
        settings.MIDDLEWARE = self.middleware  # read once by the parent, at start, in one thread
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = everything


@lru_cache(maxsize=4_096)
def match_of(path: str) -> ResolverMatch:
    """Return the view of a path; walking the list of addresses takes 7 to 19 µs (an empty view: 33)."""
    return get_resolver().resolve(path)


class ApiHandler(HandlerWith):
    """
    The parent's work without the signals around a request, whose receivers take 30 of an empty view's 90 µs.

    Of what they do the API needs one thing: after a request, close the connection whose server went away. No answer of
    the API streams, and none sets a cookie.
    """

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = match = match_of(request.path_info)
        return match

    def respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = self.request_class(environ)
        try:
            response = cast("HttpResponse", self.get_response(request))
        finally:
            close_old_connections()
        sent = [*response.items(), *headers.of(environ["PATH_INFO"])]
        start_response(f"{response.status_code} {response.reason_phrase}", sent)
        until, match = getattr(response, "ready_until", 0.0), request.resolver_match
        if until and match and request.method == "GET":
            fields = [field for field in sent if field[0] != "X-Request-Id"]
            ready.keep(environ, Ready(until, match.route, fields, response.content))
        return [response.content]


@cache
def admin_handler() -> WSGIHandler:
    """Build the admin's handler on first use: it reads every static file's name, which an API process never needs."""
    return HandlerWith(settings.MIDDLEWARE)


api_handler = ApiHandler(settings.API_MIDDLEWARE)
get_resolver().url_patterns  # noqa: B018 - imports every view now: else the first request of each process pays 0.2 s
pulse.start(revocations.look, admission.look_at_backlogs)
# The collector need not walk again and again what is loaded now: 5 % of the web's CPU under load. What requests leave
# is freed by reference counts; cycles are rare and small, and looking for them each 700 objects is too often.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/livez" and environ["REQUEST_METHOD"] == "GET":
        start_response("200 OK", [*ALIVE_HEADERS, ("X-Request-Id", request_id_of(environ))])
        return [ALIVE]
    if answer := ready.find(environ):
        return answer(environ, start_response)
    if refused := admission.refusal_by_backlog(environ):
        return refuse(environ, refused, start_response)
    if path.startswith(ADMIN_PATHS):
        return admin_handler()(environ, start_response)
    return api_handler.respond(environ, start_response)


def refuse(environ: dict[str, Any], refused: admission.Reply, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request that is not let in."""
    status, fields, body = refused
    start_response(status, [*fields, *headers.of(environ["PATH_INFO"])])
    return [body]


def turn_away(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request that the server does not even hand to a thread."""
    return refuse(environ, admission.refusal(environ), start_response)


# For config.worker: what needs no thread, and who is let in while requests wait for one.
application.find_ready = ready.find  # type: ignore[attr-defined]  # a function may carry it
if settings.ADMISSION:
    application.door, application.turn_away = admission.door, turn_away  # type: ignore[attr-defined]  # likewise
