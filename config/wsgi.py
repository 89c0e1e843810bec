"""
The WSGI application: `/livez` before anything else, then a lean handler for the API and a full one for the admin.

Two handlers, because the API needs none of what the admin needs (sessions, CSRF, messages, locale): those middlewares
cost two to four times an empty view (DESIGN.md "What each request may cost").
"""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.urls import get_resolver

from shop import logs, revocations
from shop.health import ALIVE
from shop.middleware import request_id_of

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)
logs.set_up()

ALIVE_HEADERS = [  # as shop.api.Liveness, which answers the other methods
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(ALIVE))),
    ("Cache-Control", "no-store"),
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


@cache
def admin_handler() -> WSGIHandler:
    """Build the admin's handler on first use: it reads every static file's name, which an API process never needs."""
    return HandlerWith(settings.MIDDLEWARE)


api_handler = HandlerWith(settings.API_MIDDLEWARE)
get_resolver().url_patterns  # noqa: B018 - imports every view now: else the first request of each process pays 0.2 s
revocations.watch()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/livez" and environ["REQUEST_METHOD"] == "GET":
        start_response("200 OK", [*ALIVE_HEADERS, ("X-Request-Id", request_id_of(environ))])
        return [ALIVE]
    if path.startswith(ADMIN_PATHS):
        return admin_handler()(environ, start_response)
    return api_handler(environ, start_response)
