"""The documentation a client reads: the OpenAPI document, interactive docs that need no internet, the problem types."""

import hashlib
from collections.abc import Callable
from functools import cache, wraps
from html import escape
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static

from shop import errors, representations
from shop.problems import response_for, status_of

READ_METHODS = "GET, HEAD, OPTIONS"
SCHEMA_FILE = Path(__file__).with_name("openapi.json")
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>{head}</head>
<body>{body}</body></html>"""


View = Callable[[HttpRequest], HttpResponse]


def read_only(view: View) -> View:
    """Answer everything but GET and HEAD as the API does."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": READ_METHODS})
        response = response_for(errors.MethodNotAllowed(), request)
        response["Allow"] = READ_METHODS
        return response

    return guarded


@cache
def _schema() -> representations.Representation:
    """Return the document built by `manage.py openapi`; building it takes a second, so it is a file."""
    body = SCHEMA_FILE.read_bytes()
    return representations.Representation(body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


@read_only
def openapi(request: HttpRequest) -> HttpResponse:
    """Serve the OpenAPI document."""
    return representations.respond(request, _schema(), max_age=60)


@read_only
def interactive(request: HttpRequest) -> HttpResponse:
    """Serve Swagger UI from the package's own files."""
    folder = static("drf_spectacular_sidecar/swagger-ui-dist")
    head = f'<link rel="stylesheet" href="{folder}/swagger-ui.css"><link rel="icon" href="{folder}/favicon-32x32.png">'
    body = (
        f'<div id="ui"></div><script src="{folder}/swagger-ui-bundle.js"></script>'
        f'<script src="{static("shop/docs.js")}"></script>'
    )
    return HttpResponse(PAGE.format(title=settings.SPECTACULAR_SETTINGS["TITLE"], head=head, body=body))


def _kinds(base: type[errors.Failure]) -> list[type[errors.Failure]]:
    found = [base] if "code" in base.__dict__ else []
    return found + [kind for child in base.__subclasses__() for kind in _kinds(child)]


@read_only
def problems(request: HttpRequest) -> HttpResponse:
    """Serve the page that every problem's `type` points to: cause, whether to retry, what to do."""
    items = "".join(
        f'<dt id="{kind.code}"><code>{kind.code}</code> - {status_of(kind)} {escape(kind.title)}</dt>'
        f"<dd>{escape(' '.join((kind.__doc__ or '').split()))} {escape(kind.detail)} "
        f"{'Retry after the time in Retry-After.' if status_of(kind) in (429, 503) else ''}</dd>"
        for kind in sorted(_kinds(errors.Failure), key=lambda kind: kind.code)
    )
    return HttpResponse(PAGE.format(title="Problem types", head="", body=f"<h1>Problem types</h1><dl>{items}</dl>"))
