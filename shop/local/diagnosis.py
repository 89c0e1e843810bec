"""What `doctor` looks at: each finding says what is wrong and how to mend it."""

import json
import math
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from shop import roles
from shop.invariants import append_only_tables
from shop.local import welcome

OPEN_FILES = 8_192  # kept-alive clients, LIBRARIES.md 3
FREE_BYTES = 2 * 1024**3
CLOCK_SECONDS = 1.0
SPARE_CONNECTIONS = 10  # commands, reports, a person with psql
CONNECTION_SHARE = 0.8  # FAULTS.md 4.3
KEY_BYTES, PASSWORD_CHARACTERS = 32, 16
PACKAGES = ("django", "djangorestframework", "celery", "kombu", "redis", "psycopg", "gunicorn", "granian")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `fix` is what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `doctor` has to say."""

    versions: Mapping[str, str]
    settings: Mapping[str, str]
    findings: list[Finding]
    is_anything_reachable: bool


def diagnose() -> Diagnosis:
    """Look at this machine, then at PostgreSQL and Redis as far as they answer."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    findings = list(machine())
    postgres = reach("PostgreSQL", "DATABASE_URL", postgres_version)
    findings.append(postgres)
    if postgres.ok:
        versions["PostgreSQL"] = postgres.detail
        findings += [*postgres_settings(), clock(), migrations(), connection_budget(connections_needed())]
        findings += database_roles()
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
    server = reach("Redis", "REDIS_URL", lambda: str(client.info("server")["redis_version"]))
    findings.append(server)
    if server.ok:
        versions["Redis"] = server.detail
        findings += redis_settings(client)
    findings += shop()
    return Diagnosis(versions, shown_settings(), findings, postgres.ok or server.ok)


def shown_settings() -> dict[str, str]:
    """Return every setting with its value and where that comes from; nothing secret is in it."""
    left_by_up = _left_by_up()
    shown = {}
    for name, variable in settings.ENVIRONMENT.items():
        if value := os.environ.get(name):
            shown[name] = _masked(name, value, is_secret=variable.secret)
        elif value := left_by_up.get(name):
            shown[name] = f"{_masked(name, value, is_secret=variable.secret)} (from `up`)"
        else:
            shown[name] = "not set" if variable.default == "" else f"{variable.default} (default)"
    return shown


def _left_by_up() -> dict[str, str]:
    try:
        return dict(json.loads(settings.SERVICES_FILE.read_text()))
    except (OSError, ValueError):
        return {}


def _masked(name: str, value: str, *, is_secret: bool) -> str:
    if name.endswith("_URL"):
        parts = urlsplit(value)
        return f"{parts.scheme}://…@{parts.hostname}:{parts.port}{parts.path}"
    return "…" if is_secret else value


def machine() -> Iterator[Finding]:
    """Look at limits, disk and keys; needs no server."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    enough = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES
    detail = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    yield Finding("open files", enough, detail, f"allow at least {OPEN_FILES:,}: ulimit -Hn, LimitNOFILE=, --ulimit")
    free = shutil.disk_usage(_existing(settings.DATA_DIR)).free
    yield Finding(
        "disk space", free >= FREE_BYTES, f"{free / 1024**3:.1f} GiB free", f"free some for {settings.DATA_DIR}"
    )
    for name, why in settings.WEAK_KEYS.items():  # not of the keys in use: a command without one makes one up
        fix = f"set {name} to at least {KEY_BYTES} random bytes, or start `python manage.py up`, which makes one"
        yield Finding(name, not why, why or "set", fix)
    yield from passwords()


def passwords() -> Iterator[Finding]:
    """Check that nobody guesses the way into the servers that are somebody's own; `up` makes its passwords itself."""
    urls = {"DATABASE_URL": settings.DATABASE_URL, "REDIS_URL": settings.REDIS_URL}
    for name, url in urls.items():
        if os.environ.get(name) and not (urlsplit(url).hostname or "").startswith("/"):
            ok = len(urlsplit(url).password or "") >= PASSWORD_CHARACTERS
            fix = f"give that server a random password: openssl rand -hex {PASSWORD_CHARACTERS}"
            yield Finding(f"{name}'s password", ok, "long enough" if ok else "missing or short", fix)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def shop() -> Iterator[Finding]:
    """Ask the shop that `up` runs in the data directory, if any, whether it is ready."""
    if url := _left_by_up().get("web_url"):
        fix = f"curl {url}/readyz?verbose says which part is missing; the log of `up` says why"
        yield Finding("shop", welcome.is_ready(url), url, fix)


def reach(name: str, variable: str, version: Callable[[], str]) -> Finding:
    """Ask a server for its version."""
    try:
        return Finding(name, True, version())
    except (DatabaseError, redis.RedisError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return Finding(name, False, said, f"start `python manage.py up`, or set {variable}")


def postgres_version() -> str:
    return _value("SHOW server_version").split()[0]


def _value(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])


def postgres_settings() -> Iterator[Finding]:
    """Check that a commit is on disk when the customer is told."""
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        value = _value(f"SHOW {name}")
        ok = value != "off" and not (name == "synchronous_commit" and value == "local")
        yield Finding(name, ok, value, f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf(): orders can be lost")


def database_roles() -> Iterator[Finding]:
    """Check that the role that customers meet can neither change tables nor what is written once."""
    named, kept = roles.configured(settings.DATABASE_URLS), append_only_tables()
    if named.app is None:
        if roles.too_much(named.owner.name, written_once=kept, may_write=True):
            detail = "one role does everything: a flaw in the web could change tables and rewrite the ledger"
            fix = (
                "make DATABASE_URL a role of its own and name the owner in SHOP_OWNER_DATABASE_URL (README.md, Deploy)"
            )
            yield Finding("database roles", False, detail, fix)
        else:
            yield Finding("database roles", True, f"{named.owner.name} works with rows; no owner is named here")
    for login, may_write in ((named.app, True), (named.reader, False)):
        if login is not None:
            wrong = roles.too_much(login.name, written_once=kept, may_write=may_write)
            detail = "; ".join(wrong[:3]) or ("works with rows" if may_write else "only reads")
            yield Finding(f"role {login.name}", not wrong, detail, "python manage.py grant_roles")


def clock() -> Finding:
    """Compare this machine's clock with the database's; windows use the database's time, tokens this machine's."""
    before = time.time()
    there = float(_value("SELECT extract(epoch FROM clock_timestamp())"))
    apart = abs(there - (before + time.time()) / 2)
    return Finding("clock", apart < CLOCK_SECONDS, f"{apart * 1000:.0f} ms from the database's", "run NTP on both")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in plan)
    return Finding("migrations", not plan, names or "none pending", "python manage.py migrate")


def connections_needed(*, workers: int = 2) -> int:
    """Return how many connections this shop may open: a web process's threads and its revocations, workers, some."""
    return settings.WEB_PROCESSES * (settings.WEB_THREADS + 1) + workers + SPARE_CONNECTIONS


def connections_to_allow(needed: int) -> int:
    """Return the max_connections of which `needed` is the share that may be used."""
    return math.ceil(needed / CONNECTION_SHARE)


def connection_budget(needed: int) -> Finding:
    """Check that the web's threads and the rest fit into PostgreSQL's connections."""
    allowed = int(int(_value("SHOW max_connections")) * CONNECTION_SHARE)
    used = int(_value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    return Finding(
        "connections",
        max(needed, used) <= allowed,
        f"{needed} needed by web and commands, {used} open, {allowed} may be used",
        "raise max_connections or lower SHOP_WEB_PROCESSES x SHOP_WEB_THREADS",
    )


def redis_settings(client: redis.Redis) -> Iterator[Finding]:
    """Check that Redis neither throws keys away nor forgets them; hosted services may not let us look."""
    try:
        policy = str(client.config_get("maxmemory-policy")["maxmemory-policy"])
        log = str(client.config_get("appendonly")["appendonly"])
    except redis.ResponseError as error:
        yield Finding("Redis settings", True, f"not visible: {error}")
        return
    fix = "CONFIG SET maxmemory-policy noeviction: claims and wake-ups must not be evicted"
    yield Finding("eviction", not policy.startswith("allkeys"), policy, fix)
    fix = "CONFIG SET appendonly yes: acknowledged coupon claims must survive a crash"
    yield Finding("append-only log", log == "yes", log, fix)


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the diagnosis for --json."""
    return {
        "ok": all(finding.ok for finding in diagnosis.findings),
        "versions": dict(diagnosis.versions),
        "settings": dict(diagnosis.settings),
        "findings": [
            {"name": finding.name, "ok": finding.ok, "detail": finding.detail}
            | ({} if finding.ok else {"fix": finding.fix})
            for finding in diagnosis.findings
        ],
    }
