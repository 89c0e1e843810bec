"""What `up` tells whoever started it once requests can come: where everything is and how to get in."""

import json
import urllib.error
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 5.0


def is_ready(base_url: str) -> bool:
    """Ask the shop itself: database, Redis and workers, not just an open port."""
    try:
        with urllib.request.urlopen(f"{base_url}/readyz", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own URL
            return bool(answer.status == 200)
    except OSError:  # refused, reset, timed out, or an HTTP error status
        return False


def find_token(base_url: str, login: dict[str, str]) -> str | None:
    """Return an access token for the login, or None if the shop gives none (somebody changed the password)."""
    request = urllib.request.Request(  # noqa: S310 - our own URL
        f"{base_url}/auth/token", data=json.dumps(login).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own URL
            return str(json.load(answer)["access"])
    except (OSError, ValueError, KeyError):
        return None


def lines(base_url: str, metrics_url: str, services: dict[str, Any]) -> list[str]:
    """Return the lines of the box."""
    said = [
        f"shop      {base_url}",
        f"API docs  {base_url}/docs",
        f"admin     {base_url}/admin/",
        f"metrics   {metrics_url}",
    ]
    for role in ("customer", "operator"):
        if login := services.get(role):
            said.append(f"{role:<9} {login['username']} / {login['password']}")
    if "customer" not in services:
        said.append("users     none made here: sign up at POST /auth/signup; operators: manage.py createsuperuser")
    elif token := find_token(base_url, services["customer"]):
        said += ["", "try       " + f'curl -H "Authorization: Bearer {token}" {base_url}/orders']
    return [*said, "", "stop      Ctrl-C; everything stays in the data directory"]


def box(said: list[str]) -> str:
    """Draw a rule above and below; no sides, so that a long line can be copied."""
    rule = "-" * 100
    return "\n".join(["", rule, *(f"  {line}".rstrip() for line in said), rule, ""])
