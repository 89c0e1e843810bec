"""Input limits equal those of the HTTP contract, and every setting is described and read in one place."""

import ast
from datetime import timedelta

import pytest
from django.conf import settings

import balance.api
import balance.operations
import catalog.api
import catalog.queries
import orders.api
from config import env
from config.tests.sources import files, name_of
from orders.models import OrderLine
from shop import cursors, endpoint, inputs, tasks
from shop.inputs import Array, Integer, Nullable, Number, Object

ITEMS = orders.api.ORDER.fields["items"]
AMOUNT = balance.api.CHARGE.fields["amount"]


def item_field(name: str) -> object:
    assert isinstance(ITEMS, Array)
    assert isinstance(ITEMS.item, Object)
    return ITEMS.item.fields[name]


def test_a_charge_is_from_1_to_10_000_000() -> None:
    assert Integer(1, 10_000_000) == AMOUNT


def test_a_wallet_holds_at_most_1_000_000_000() -> None:
    assert balance.operations.WALLET_LIMIT == 1_000_000_000


def test_an_order_has_1_to_50_distinct_items() -> None:
    assert isinstance(ITEMS, Array)
    assert (ITEMS.minimum, ITEMS.maximum, ITEMS.distinct_by) == (1, 50, "product_id")


def test_a_quantity_is_from_1_to_1_000_at_the_edge_and_in_the_table() -> None:
    assert item_field("quantity") == Integer(1, 1_000)
    (in_table,) = [c for c in OrderLine._meta.constraints if c.name == "order_line_quantity_range"]
    assert in_table.deconstruct()[2]["condition"].children == [("quantity__gte", 1), ("quantity__lte", 1_000)]


def test_ids_fit_their_columns() -> None:
    assert item_field("product_id") == Integer(1, 2**63 - 1)
    assert orders.api.ORDER.fields["issuance_id"] == Nullable(Integer(1, 2**63 - 1))


def test_a_page_has_1_to_100_rows_and_20_by_default() -> None:
    assert cursors.PAGE_PARAMETERS["size"] == Number(1, 100, 20)
    assert catalog.api.LIST_PARAMETERS["size"] == Number(1, 100, 20)


def test_numbered_pages_end_at_row_10_000() -> None:
    assert catalog.queries.NUMBERED_ROWS == 10_000


def test_top_selling_are_5_of_3_days() -> None:
    assert (catalog.api.WINDOW_DAYS, catalog.api.TOP_LIMIT) == (3, 5)


def test_an_idempotency_key_has_up_to_255_characters_and_lives_a_day() -> None:
    assert endpoint.KEY_LIMIT == 255
    assert timedelta(hours=24) <= tasks.KEY_LIFE


def test_a_body_has_up_to_64_kib() -> None:
    assert inputs.BODY_LIMIT_BYTES == 64 * 1024


def test_an_access_token_lives_15_minutes() -> None:
    assert settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"] == timedelta(minutes=15)


# --- settings -------------------------------------------------------------------------------------------------------


def read_names() -> dict[str, set[str]]:
    """Return the names given to the readers of `config.env`, each with the files that do."""
    found = {name: {"config/env.py"} for name in env.URL_OF_ROLE.values()}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in (
                "env.read",
                "env.service",
                "env.quota",
                "env.count",
                "env.zone",
                "env.secret",
                "read",
            ):
                continue
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).isupper():
                    found.setdefault(str(argument.value), set()).add(name_of(path))
    return found


@pytest.mark.parametrize("name", env.VARIABLES)
def test_every_setting_is_described_and_read(name: str) -> None:
    assert len(env.VARIABLES[name].about) >= 15
    assert read_names()[name]


def test_every_setting_that_is_read_exists() -> None:
    assert set(read_names()) - set(env.VARIABLES) == set()


def test_settings_are_read_by_the_settings_alone() -> None:
    readers = {"config/env.py", "config/settings.py", "config/gunicorn.py"}
    assert set().union(*read_names().values()) == readers | {"loadtests/lab/engines.py"}  # the lab has no settings
