"""What browsers may load and run on a page of the admin."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# The theme's scripts (Alpine) turn attributes into functions and its widgets style themselves; inline scripts has none.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class ContentSecurity:
    """Adds the policy to every answer of the admin; the other headers are Django's SecurityMiddleware's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response
