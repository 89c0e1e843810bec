"""PostgreSQL's roles as the running shop has them: what each may do is tried, and what it must not is refused."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import get_commands

from balance.models import Account, Transfer
from catalog.models import StockMovement
from config import env
from config.tests.client import Client
from config.tests.conftest import World
from orders.models import OrderHistory, OrderLine
from shop import roles
from shop.invariants import append_only_tables
from shop.local.session import APP, READER
from shop.models import OperatorAction
from shop.testing_shop import RunningShop, run_manage, start_shop

REFUSED = "42501"
NEW_SECRETS = ("POSTGRES_APP_PASSWORD", "POSTGRES_READER_PASSWORD")
WRITTEN_ONCE = [
    *(model._meta.db_table for model in (Account, Transfer, StockMovement, OrderLine, OrderHistory, OperatorAction)),
    "django_admin_log",
]
SCHEMA = (
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION citext",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION shop_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER TABLE orders_order ADD COLUMN mine int",
    "ALTER TABLE balance_transfer DISABLE TRIGGER transfer_append_only",
    "DROP TRIGGER transfer_append_only ON balance_transfer",
    "DROP INDEX parked_item_once_per_stage",
    "DROP TABLE orders_order CASCADE",
    "TRUNCATE balance_transfer CASCADE",
    "TRUNCATE shop_parkeditem",
    "SET session_replication_role = replica",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('orders', '0099_mine', now())",
    "CREATE ROLE mine",
    "ALTER TABLE balance_transfer OWNER TO shop_app",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop GRANT ALL ON TABLES TO shop_app",
    "SET ROLE shop",
    "COPY orders_order TO PROGRAM 'cat'",
    "REINDEX TABLE orders_order",
)


Try = Callable[[str], str | None]


@contextmanager
def trying(url: str) -> Iterator[Try]:
    """Yield a function that runs a statement, undoes it and returns the SQLSTATE of its refusal, if any."""
    with psycopg.connect(url) as connection:

        def run(statement: str) -> str | None:
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                return error.sqlstate
            finally:
                connection.rollback()
            return None

        yield run


def changes(table: str) -> list[str]:
    return [f"UPDATE {table} SET id = id WHERE false", f"DELETE FROM {table} WHERE false"]  # noqa: S608 - a name of ours


@pytest.fixture
def as_app(running_shop: RunningShop) -> Iterator[Try]:
    with trying(running_shop.database_url) as run:
        yield run


@pytest.fixture
def as_reader(running_shop: RunningShop) -> Iterator[Try]:
    with trying(running_shop.reader_url) as run:
        yield run


# --- the app --------------------------------------------------------------------------------------------------------


def test_parts_of_the_shop_are_the_app(running_shop: RunningShop, client: Client) -> None:
    client.get("/readyz")
    with psycopg.connect(running_shop.owner_url) as owner:
        parts = "SELECT DISTINCT application_name, usename FROM pg_stat_activity WHERE application_name LIKE 'shop-%'"
        found: dict[str, str] = dict(owner.execute(parts).fetchall())
    assert {found["shop-web"], found["shop-worker"]} == {APP}


@pytest.mark.parametrize("statement", SCHEMA)
def test_app_can_not_change_the_schema(as_app: Try, statement: str) -> None:
    assert as_app(statement) == REFUSED


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_app_can_not_change_what_is_written_once(as_app: Try, table: str) -> None:
    assert [as_app(change) for change in changes(table)] == [REFUSED, REFUSED]
    assert as_app(f"SELECT count(*) FROM {table}") is None  # noqa: S608 - likewise


def test_app_works_with_rows(as_app: Try) -> None:
    """The rest of it is the whole contract: every test over HTTP meets the shop as this role."""
    assert as_app("UPDATE balance_wallet SET balance = balance") is None
    assert as_app("SELECT nextval('coupons_gate_epoch')") is None
    assert as_app("DELETE FROM django_session WHERE false") is None


# --- the reader -----------------------------------------------------------------------------------------------------


def test_reader_reads_and_writes_nothing(as_reader: Try, world: World) -> None:
    for (table,) in world.rows("SELECT relname FROM pg_class WHERE relkind = 'r' AND relowner = 'shop'::regrole"):
        if table.startswith(("pg_", "sql_")):
            continue
        for write in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE", f"INSERT INTO {table} DEFAULT VALUES"):  # noqa: S608 - likewise
            assert as_reader(write) == REFUSED, write
    assert as_reader("CREATE TEMPORARY TABLE mine (id int)") == REFUSED
    assert as_reader("SELECT sum(amount) FROM balance_transfer") is None


@pytest.mark.parametrize(
    "secret",
    [
        "SELECT password FROM shop_user",
        "SELECT * FROM shop_user",
        "SELECT session_data FROM django_session",
        "SELECT token FROM token_blacklist_outstandingtoken",
    ],
)
def test_reader_sees_no_secret(as_reader: Try, secret: str) -> None:
    assert as_reader(secret) == REFUSED
    assert as_reader("SELECT id, username FROM shop_user") is None


def test_audit_and_reports_are_the_reader(running_shop: RunningShop, world: World) -> None:
    """Without SELECT for it they end; nothing else of the shop notices."""
    with psycopg.connect(running_shop.owner_url, autocommit=True) as owner:
        owner.execute(f"REVOKE SELECT ON orders_order FROM {READER}")  # noqa: S608 - likewise
        try:
            done = [running_shop.manage("audit"), running_shop.manage("report", "sales")]
        finally:
            owner.execute(f"GRANT SELECT ON orders_order TO {READER}")
    assert [("permission denied" in command.stderr, command.returncode == 0) for command in done] == [(True, False)] * 2
    for report in ("sales", "top-selling", "coupons", "ledger"):
        assert running_shop.manage("report", report).returncode == 0
    world.assert_audit_clean()


# --- how they get there ---------------------------------------------------------------------------------------------


def wrongs(owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Return what `doctor` finds about the app and the reader, asked over this connection."""
    monkeypatch.setattr(roles.db, "rows", lambda text, values=(): owner.execute(text, values).fetchall())
    kept = append_only_tables()
    return (
        roles.too_much(APP, written_once=kept, may_write=True),
        roles.too_much(READER, written_once=kept, may_write=False),
    )


def test_check_of_the_roles_finds_each_right_too_many(
    running_shop: RunningShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(running_shop.owner_url) as owner:
        assert wrongs(owner, monkeypatch) == ([], [])
        owner.execute(f"GRANT UPDATE (amount) ON balance_transfer TO {APP}")
        owner.execute(f"GRANT TRUNCATE ON orders_order TO {APP}")
        owner.execute(f"GRANT CREATE ON SCHEMA public TO {APP}")
        owner.execute(f"GRANT SELECT (password) ON shop_user TO {READER}")
        owner.execute(f"GRANT INSERT ON catalog_stock TO {READER}")
        assert wrongs(owner, monkeypatch) == (
            ["it is allowed to make tables", "it may UPDATE balance_transfer", "it may TRUNCATE orders_order"],
            ["it may INSERT catalog_stock", "it may SELECT shop_user.password"],
        )
        owner.rollback()


def test_with_the_right_the_ledger_would_not_be_refused_by_the_role(running_shop: RunningShop) -> None:
    """The control of `written once`: it is the missing right that refuses, before any trigger."""
    with psycopg.connect(running_shop.owner_url) as owner:
        change = "UPDATE balance_transfer SET amount = amount WHERE false"
        owner.execute(f"GRANT UPDATE ON balance_transfer TO {APP}")
        owner.execute(f"SET LOCAL ROLE {APP}")
        owner.execute(change)
        owner.execute("RESET ROLE")
        owner.execute(f"REVOKE UPDATE ON balance_transfer FROM {APP}")
        owner.execute(f"SET LOCAL ROLE {APP}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(change)
        owner.rollback()


def test_table_of_a_later_migration_is_the_apps_to_work_with_only(running_shop: RunningShop) -> None:
    with psycopg.connect(running_shop.owner_url) as owner:
        owner.execute("CREATE TABLE later (id int GENERATED BY DEFAULT AS IDENTITY, name text)")
        owner.execute(f"SET LOCAL ROLE {APP}")
        owner.execute("INSERT INTO later (name) VALUES ('x')")
        owner.execute("SELECT nextval(pg_get_serial_sequence('later', 'id'))")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("TRUNCATE later")
        owner.rollback()


def test_granting_again_repairs_and_repeats(running_shop: RunningShop, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(running_shop.owner_url, autocommit=True) as owner:
        owner.execute(f"GRANT TRUNCATE, UPDATE ON balance_transfer TO {APP}")
        owner.execute(f"ALTER ROLE {READER} PASSWORD 'another'")
        try:
            for _ in range(2):
                done = running_shop.manage("grant_roles")
                assert (done.returncode, done.stdout) == (0, f"rights given to {APP} and {READER}\n"), done.stderr
        finally:
            owner.execute(f"REVOKE TRUNCATE, UPDATE ON balance_transfer FROM {APP}")
        assert wrongs(owner, monkeypatch) == ([], [])
    psycopg.connect(running_shop.reader_url).close()


def test_data_directory_from_before_the_roles_starts_again(tmp_path: Path) -> None:
    """Its cluster knows one role, and its services file one password for PostgreSQL."""
    shop = start_shop(tmp_path / "shop")
    with psycopg.connect(shop.owner_url, autocommit=True) as owner:
        for role in (APP, READER):
            owner.execute(f"DROP OWNED BY {role}")
            owner.execute(f"ALTER ROLE {role} NOLOGIN")
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
            owner.execute(f"DROP ROLE {role}")
    assert shop.stop() == 0
    before = {name: value for name, value in shop.services.items() if name not in NEW_SECRETS}
    (shop.data_dir / "services.json").write_text(json.dumps(before))
    again = start_shop(tmp_path / "shop")
    try:
        assert again.manage("audit").returncode == 0
    finally:
        assert again.stop() == 0


def test_roles_are_given_to_commands_that_exist() -> None:
    assert set(env.ROLE_OF_COMMAND) <= set(get_commands())


def test_command_takes_its_role_and_hands_it_to_none_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    for command, role in (("migrate", "owner"), ("audit", "reader"), ("shell", "app")):
        monkeypatch.setattr(env, "command", command)
        assert env.database_role("command") == role
        assert env.database_role("web") == "app"
    monkeypatch.setenv("SHOP_DATABASE_ROLE", "owner")
    assert (env.database_role("command"), env.database_role("worker")) == ("owner", "app")
    monkeypatch.setenv("SHOP_DATABASE_ROLE", "superuser")
    with pytest.raises(env.BadEnvironment, match="neither owner, app nor reader"):
        env.database_role("command")
    monkeypatch.undo()
    assert dict(os.environ) == before


@pytest.mark.parametrize("alone", ["SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL"])
def test_owner_without_an_app_is_refused(alone: str, tmp_path: Path) -> None:
    for command in ("doctor", "up"):
        done = run_manage(command, data_dir=tmp_path / "none", **{alone: "postgres://somebody@127.0.0.1/shop"})
        assert (done.returncode, done.stderr.endswith("need DATABASE_URL beside them\n")) == (2, True), done.stderr


def test_one_role_for_everything_works(running_shop: RunningShop, tmp_path: Path) -> None:
    """What a newcomer with a database of their own has: DATABASE_URL and nothing else."""
    environment = {"DATABASE_URL": running_shop.owner_url, "REDIS_URL": running_shop.redis_url}
    done = run_manage("grant_roles", data_dir=tmp_path / "none", **environment)
    assert (done.returncode, done.stdout.startswith("one role does everything")) == (0, True), done.stderr
    assert run_manage("audit", data_dir=tmp_path / "none", **environment).returncode == 0
