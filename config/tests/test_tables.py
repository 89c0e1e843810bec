"""What PostgreSQL itself guarantees: constraints stand and are valid, the ledger and the movements only grow."""

from collections.abc import Iterable

import pytest
from django.apps import apps
from django.db import IntegrityError, models

from balance.models import Transfer
from catalog.models import StockMovement
from config.tests import building
from config.tests.sources import ROOMS
from shop import db

MODELS = [
    model for room in ROOMS if room not in ("config", "loadtests") for model in apps.get_app_config(room).get_models()
]
CONSTRAINTS = [(model, constraint) for model in MODELS for constraint in model._meta.constraints]
APPEND_ONLY: list[type[models.Model]] = [Transfer, StockMovement]


def missing(names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the (table, constraint) pairs that PostgreSQL does not have, or has without having checked the rows."""
    standing = db.rows(
        """
        SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE convalidated
        UNION ALL
        SELECT indrelid::regclass::text, indexrelid::regclass::text FROM pg_index
        WHERE indisunique AND indisvalid AND indisready
        """
    )
    return sorted(set(names) - {(table, name) for table, name in standing})


@pytest.mark.django_db
def test_every_constraint_stands_in_postgresql() -> None:
    assert len(CONSTRAINTS) > 40
    assert missing((model._meta.db_table, constraint.name) for model, constraint in CONSTRAINTS) == []


@pytest.mark.django_db
def test_a_constraint_that_does_not_stand_is_found() -> None:
    db.rows("ALTER TABLE balance_wallet DROP CONSTRAINT wallet_balance_not_negative")
    db.rows("ALTER TABLE balance_wallet ADD CONSTRAINT later CHECK (balance >= 0) NOT VALID")
    names = [("balance_wallet", "wallet_balance_not_negative"), ("balance_wallet", "later")]
    assert missing(names) == sorted(names)


def test_constraints_are_named_after_what_they_say() -> None:
    names = [constraint.name for _model, constraint in CONSTRAINTS]
    assert sorted(set(names)) == sorted(names)
    assert [name for name in names if not name.islower() or name.endswith(("_uniq", "_check")) or "_" not in name] == []


@pytest.mark.django_db
def test_foreign_keys_are_checked_and_valid() -> None:
    keys = [field for model in MODELS for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
    wanted = {(field.model._meta.db_table, field.column) for field in keys if field.db_constraint}
    standing = db.rows(
        """
        SELECT conrelid::regclass::text, attname FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey)
        WHERE contype = 'f' AND convalidated
        """
    )
    assert len(wanted) > 5
    assert wanted - {(table, column) for table, column in standing} == set()


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("model", APPEND_ONLY)
@pytest.mark.parametrize("change", ["UPDATE {table} SET reason = 'rewritten'", "DELETE FROM {table}"])
def test_append_only_tables_refuse_changes(model: type[models.Model], change: str) -> None:
    building.make_user(balance=1_000)
    building.make_product(stock=3)
    table = model._meta.db_table
    before = db.rows(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608 - a table of ours
    assert len(before) == 1
    with pytest.raises(IntegrityError, match="is append-only") as refused:
        db.rows(change.format(table=table))
    assert db.violated_constraint(refused.value) == f"{table}_append_only"
    assert db.rows(f"SELECT * FROM {table} ORDER BY id") == before  # noqa: S608 - a table of ours


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("model", APPEND_ONLY)
def test_the_orm_is_refused_as_well(model: type[models.Model]) -> None:
    building.make_user(balance=1_000)
    building.make_product(stock=3)
    with pytest.raises(IntegrityError, match="UPDATE refused"):
        model._default_manager.update(reason="rewritten")
    with pytest.raises(IntegrityError, match="DELETE refused"):
        model._default_manager.all().delete()
