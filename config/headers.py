"""
What every answer tells browsers besides its own headers; made once, because the API adds it to each answer.

The API's answers are data: nothing in them may run, load or be framed. The documentation runs its own scripts. The
admin has a middleware (`shop.backoffice.headers`), beside Django's SecurityMiddleware.
"""

from functools import cache

from django.conf import settings

Headers = list[tuple[str, str]]

DATA = "default-src 'none'; frame-ancestors 'none'"
OWN_SCRIPTS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS_PATH = "/docs"


@cache
def with_policy(policy: str) -> Headers:
    """Return the headers for one kind of content."""
    fixed = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
    if settings.SECURE_HSTS_SECONDS:
        fixed.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    return [*fixed, ("Content-Security-Policy", policy)]


def of(path: str) -> Headers:
    """Return what an answer of the API at `path` has besides its own headers."""
    return with_policy(OWN_SCRIPTS if path.startswith(DOCS_PATH) else DATA)
