"""
PostgreSQL's roles: the *owner* makes and changes tables, the *app* works with rows, the *reader* only looks.

Web, workers and most commands are the app. It can neither change the schema nor empty a table, and what was written
once (money, stock movements, steps of orders, the trail of operators) it can only add to: a flaw in the web must not be
able to rewrite the ledger. `audit` and `report` are the reader. With one address for everything all three are one role;
that works, and `doctor` says what it costs.

Rights are given after every migration, so that new tables have them too (shop.apps), and by `manage.py grant_roles`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from django.apps import apps
from django.conf import settings
from django.db import connection
from psycopg import sql

from shop import db
from shop.invariants import append_only_tables

WRITE = ("INSERT", "UPDATE", "DELETE")
PRIVATE_COLUMNS = {"shop_user": {"password"}}
"""What the reader does not see of the tables it may read."""

READ_TOO = {"django_migrations", "django_content_type", "django_admin_log"}
"""Tables of packages that the reader may read; it has no business with sessions, tokens and second factors."""

_written_once = {"django_admin_log", "balance_account"}


class CannotGrant(Exception):
    """The owner may not do what is missing; the message says what to run as an administrator of the server."""


@dataclass(frozen=True, slots=True)
class Login:
    """A role that connects by name and password."""

    name: str
    password: str

    @classmethod
    def of(cls, url: str) -> "Login":
        parts = urlsplit(url)
        return cls(unquote(parts.username or ""), unquote(parts.password or ""))


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is who; `app` and `reader` are None where the owner does their work."""

    owner: Login
    app: Login | None
    reader: Login | None


def configured(urls: Mapping[str, str]) -> Roles:
    """Return the roles named in the addresses of `owner`, `app` and `reader`."""
    owner, app, reader = (Login.of(urls[name]) for name in ("owner", "app", "reader"))
    return Roles(
        owner=owner,
        app=app if app.name != owner.name else None,
        reader=reader if reader.name not in (owner.name, app.name) else None,
    )


def written_once(*tables: str) -> None:
    """Name tables whose rows the app adds and never changes; those with a trigger that says so need not be named."""
    _written_once.update(tables)


# --- giving ---------------------------------------------------------------------------------------------------------


def grant_configured() -> list[str]:
    """Give the roles of this installation their rights; return their names, none where one role does everything."""
    roles = configured(settings.DATABASE_URLS)
    return grant_all(roles, written_once=append_only_tables()) if roles.app or roles.reader else []


def grant_all(roles: Roles, *, written_once: Iterable[str]) -> list[str]:
    """
    Make the roles that are missing and give each exactly its rights; return their names.

    Transaction: opens one.  Locks: an advisory one of its own.  Repeats: harmless.
    Raises: CannotGrant.
    """
    others = [login for login in (roles.app, roles.reader) if login is not None]
    if not others:
        return []
    with db.transaction():
        db.rows("SELECT pg_advisory_xact_lock(%s)", [db.advisory_key("grant roles")])  # two at once would collide
        for login in others:
            _make(login)
        _open_database(others)
        tables = _owned("r", "p", "v", "m")
        for login in others:
            _run("REVOKE ALL ON {} FROM {}", tables, login)
        if roles.app is not None:
            _grant_app(roles.app, tables, _written_once | set(written_once))
        if roles.reader is not None:
            _grant_reader(roles.reader, set(tables) & (_room_tables() | READ_TOO))
    return [login.name for login in others]


def _make(login: Login) -> None:
    """Make the role, or set its password, unless it can log in as it is."""
    exists = db.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [login.name])
    if exists and _can_log_in(login):
        return
    if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)"):
        if exists:
            return  # whoever made it knows why this machine cannot log in as that role
        make = f"CREATE ROLE {login.name} LOGIN PASSWORD '…'"
        raise CannotGrant(f"role {login.name} is missing: {make}, then python manage.py grant_roles")
    # The server gets the verifier only: a statement that fails is logged with its text.
    encrypt = connection.connection.pgconn.encrypt_password
    verifier = encrypt(login.password.encode(), login.name.encode(), b"scram-sha-256")
    what = "ALTER ROLE {} LOGIN PASSWORD {}" if exists else "CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}"
    _execute(sql.SQL(what).format(sql.Identifier(login.name), sql.Literal(verifier.decode())))


def _can_log_in(login: Login) -> bool:
    try:
        psycopg.connect(**connection.get_connection_params() | {"user": login.name, "password": login.password}).close()
    except psycopg.OperationalError:
        return False
    return True


def _open_database(logins: list[Login]) -> None:
    """Let them connect and see the schema; let nobody but the owner make anything, temporary tables included."""
    names = sql.SQL(", ").join(sql.Identifier(login.name) for login in logins)
    [(database, schema)] = db.rows("SELECT current_database(), current_schema()")
    database, schema = sql.Identifier(database), sql.Identifier(schema)
    _execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    _execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, names))
    _execute(sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(schema))
    _execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, names))


def _grant_app(app: Login, tables: list[str], written_once: set[str]) -> None:
    """Give the app its rights, on tables that are made later too: until the next migration has run they are all."""
    once = [name for name in tables if name in written_once]
    often = [name for name in tables if name not in written_once | {"django_migrations"}]
    _run("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}", often, app)
    _run("GRANT SELECT, INSERT ON {} TO {}", once, app)
    _run("GRANT SELECT ON {} TO {}", ["django_migrations"], app)
    _run("GRANT SELECT, USAGE ON SEQUENCE {} TO {}", _owned("S"), app)
    for rights in ("SELECT, INSERT, UPDATE, DELETE ON TABLES", "SELECT, USAGE ON SEQUENCES"):
        later = sql.SQL("ALTER DEFAULT PRIVILEGES GRANT {} TO {}")
        _execute(later.format(sql.SQL(rights), sql.Identifier(app.name)))


def _grant_reader(reader: Login, tables: set[str]) -> None:
    _run("GRANT SELECT ON {} TO {}", sorted(tables - set(PRIVATE_COLUMNS)), reader)
    for table in sorted(tables & set(PRIVATE_COLUMNS)):
        columns = [name for name in _columns(table) if name not in PRIVATE_COLUMNS[table]]
        seen = sql.SQL(", ").join(map(sql.Identifier, columns))
        give = sql.SQL("GRANT SELECT ({}) ON {} TO {}")
        _execute(give.format(seen, sql.Identifier(table), sql.Identifier(reader.name)))


def _run(statement: str, names: list[str], login: Login) -> None:
    if names:
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        _execute(sql.SQL(statement).format(listed, sql.Identifier(login.name)))


def _execute(statement: sql.Composed) -> None:
    db.rows(statement.as_string(connection.connection))


def _owned(*kinds: str) -> list[str]:
    """Return the relations of these kinds that are ours: an extension's are its own."""
    found = db.rows(
        """
        SELECT relname FROM pg_class c WHERE relnamespace = current_schema()::regnamespace AND relkind = ANY(%s)
        AND relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY relname
        """,
        [list(kinds)],
    )
    return [name for (name,) in found]


def _columns(table: str) -> list[str]:
    with connection.cursor() as cursor:
        return [column.name for column in connection.introspection.get_table_description(cursor, table)]


def _room_tables() -> set[str]:
    """Return the tables of the rooms, which stand side by side in the project's directory."""
    rooms = {config.label for config in apps.get_app_configs() if Path(config.path).parent == settings.BASE_DIR}
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table for model in models if model._meta.app_label in rooms}


# --- looking --------------------------------------------------------------------------------------------------------


def too_much(name: str, *, written_once: Iterable[str], may_write: bool) -> list[str]:
    """Return what the role `name` may do although app (`may_write`) or reader must not, one line each."""
    if not db.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
        return ["it does not exist"]
    powers = [f"it is {power}" for (power,) in db.rows(POWERS, {"name": name})]
    never = ["TRUNCATE", "TRIGGER", "REFERENCES"] if may_write else ["TRUNCATE", "TRIGGER", "REFERENCES", *WRITE]
    kept = sorted(_written_once | set(written_once))
    wrong = db.rows(ON_TABLES, {"name": name, "never": never, "kept": kept, "schema": "django_migrations"})
    seen = [] if may_write else _private_columns_seen_by(name)
    return powers + [f"it may {right} {table}" for table, right in wrong] + seen


def _private_columns_seen_by(name: str) -> list[str]:
    columns = [(table, column) for table, hidden in PRIVATE_COLUMNS.items() for column in hidden]
    return [
        f"it may SELECT {table}.{column}"
        for table, column in columns
        if db.rows("SELECT has_column_privilege(%s, %s, %s, 'SELECT')", [name, table, column])[0][0]
    ]


POWERS = """
    SELECT power FROM pg_roles r, LATERAL (VALUES
        (rolsuper, 'superuser'), (rolcreaterole, 'allowed to make roles'), (rolcreatedb, 'allowed to make databases'),
        (rolbypassrls, 'above row security'), (rolreplication, 'allowed to replicate'),
        (has_schema_privilege(r.oid, current_schema(), 'CREATE'), 'allowed to make tables'),
        (has_database_privilege(r.oid, current_database(), 'TEMPORARY'), 'allowed to make temporary tables'),
        (has_database_privilege(r.oid, current_database(), 'CREATE'), 'allowed to make schemas'),
        (EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace
                 AND pg_has_role(r.oid, relowner, 'MEMBER')), 'the owner of tables')
    ) AS powers (has, power) WHERE rolname = %(name)s AND has
"""

ON_TABLES = """
    SELECT relname, "right" FROM pg_class c,
        LATERAL unnest(%(never)s || CASE WHEN relname = ANY(%(kept)s) THEN '{UPDATE,DELETE}'::text[]
                       WHEN relname = %(schema)s THEN '{INSERT,UPDATE,DELETE}' ELSE '{}' END) AS "right"
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
      AND (has_table_privilege(%(name)s, c.oid, "right")
           OR "right" IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(%(name)s, c.oid, "right"))
    ORDER BY 1, 2
"""
