"""The catalogue can fail: a validator taken away, a row changed behind its back, a forged line are each noticed."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock
from wsgiref.simple_server import WSGIRequestHandler, make_server

import psycopg
import pytest
import redis
from django.db import connections

from balance.api import OwnAccount
from config.tests import log_lines, snapshots
from config.tests.bad_input.scene import Scene
from config.tests.bad_input.sending import answers_to, prepare
from config.tests.building import make_product, make_user
from config.tests.client import Client, Contract
from config.tests.conftest import Customer, World
from config.tests.test_bad_input import ROWS, snapshot
from shop import auth, inputs

# --- a validator taken away ------------------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    """Serve the shop from this process, so that a test can take a part of it away; one connection at a time."""
    from config.wsgi import api_handler  # noqa: PLC0415 - sets up the logs of a process; only this test serves

    def serve() -> None:
        server.serve_forever(poll_interval=0.01)
        connections.close_all()

    with make_server("127.0.0.1", 0, api_handler, handler_class=Quiet) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def small_world(client: Client) -> Any:
    """Return of a world what the rows below ask for."""

    def customer() -> Customer:
        user_id = make_user(balance=1_000_000)
        return Customer(user_id, auth.access_token_for(user_id=user_id))

    return SimpleNamespace(client=client, customer=customer, product=lambda: make_product(stock=9))


def lenient_integer(spec: inputs.Integer, value: Any, pointer: str, found: inputs.Findings) -> Any:
    return int(value)


def lenient_object(spec: inputs.Object, value: Any, pointer: str, found: inputs.Findings) -> Any:
    return {name: spec._read_field(name, value, pointer, found) for name in spec.fields}


TAKEN_AWAY: dict[int, AbstractContextManager[Any]] = {
    95: mock.patch.object(inputs.Integer, "read", lenient_integer),
    101: mock.patch.object(inputs.Object, "read", lenient_object),
    102: mock.patch.object(OwnAccount, "check_may_act_for", return_value=None),
    132: mock.patch.object(inputs.Array, "_check_distinct", return_value=None),
    176: mock.patch.object(inputs.unicodedata, "category", return_value="Ll"),
    178: mock.patch.object(inputs.Words, "parse", lambda spec, text, pointer, found: text[:5]),
}


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("number", TAKEN_AWAY)
def test_row_fails_without_the_validator_it_is_about(number: int, contract: Contract) -> None:
    row = ROWS[number]
    with served() as base_url:
        scene = Scene(small_world(Client(base_url, contract)))
        prepare(row, scene)
        answers_to(row, scene)
        with TAKEN_AWAY[number], pytest.raises(AssertionError, match=f"B{number}: "):
            answers_to(row, scene)
        scene.client.close()


# --- a row changed ---------------------------------------------------------------------------------------------------

CHANGED = {
    "balance_account": "DELETE FROM balance_account WHERE kind = 'house_cash'",
    "balance_wallet": "UPDATE balance_wallet SET balance = balance + 1 WHERE user_id = %(user)s",
    "balance_transfer": "UPDATE balance_transfer SET amount = amount + 1 WHERE order_id = %(order)s",
    "catalog_product": "UPDATE catalog_product SET price = price + 1 WHERE id = %(product)s",
    "catalog_stock": "UPDATE catalog_stock SET available = available - 1 WHERE product_id = %(product)s",
    "catalog_stockmovement": "DELETE FROM catalog_stockmovement WHERE product_id = %(product)s",
    "catalog_dailysales": "UPDATE catalog_dailysales SET units = units + 1 WHERE product_id = %(product)s",
    "coupons_campaign": "UPDATE coupons_campaign SET issued = issued + 1 WHERE id = %(campaign)s",
    "coupons_issuance": "UPDATE coupons_issuance SET position = position + 1 WHERE campaign_id = %(campaign)s",
    "orders_order": "UPDATE orders_order SET request_id = request_id || 'x' WHERE id = %(order)s",
    "orders_orderline": "UPDATE orders_orderline SET quantity = quantity + 1 WHERE product_id = %(product)s",
    "orders_orderhistory": "DELETE FROM orders_orderhistory WHERE order_id = %(order)s",
    "shop_user": "UPDATE shop_user SET is_staff = true WHERE id = %(user)s",
    "shop_idempotencyrecord": "DELETE FROM shop_idempotencyrecord WHERE user_id = %(user)s",
    "token_blacklist_outstandingtoken": "UPDATE token_blacklist_outstandingtoken SET jti = jti || 'x' WHERE id = 1",
    "token_blacklist_blacklistedtoken": "DELETE FROM token_blacklist_blacklistedtoken",
}


@pytest.fixture(scope="module")
def busy_life(world: World) -> dict[str, int]:
    """Leave a row in every table; return whose."""
    scene = Scene(world)
    body = {"items": [{"product_id": scene["product"], "quantity": 1}]}
    accepted = world.client.post("/orders", body, token=scene.me.token, key="k")
    order_id = world.settled(scene.me, accepted)["order_id"]
    world.coupon(scene.me, scene["campaign"])
    world.client.post("/auth/token/refresh", {"refresh": scene["refresh"]})
    return {
        "user": scene.me.user_id,
        "product": scene["product"],
        "campaign": scene["campaign"],
        "order": order_id,
    }


def test_every_table_of_the_snapshot_is_tried() -> None:
    assert set(CHANGED) == set(snapshots.ROWS)


@pytest.mark.parametrize("table", CHANGED)
def test_one_changed_row_is_noticed(world: World, busy_life: dict[str, int], table: str) -> None:
    before = snapshot(world)
    with psycopg.connect(world.shop.owner_url) as other:
        other.execute("SET LOCAL session_replication_role = replica")  # past the triggers that keep history immutable
        done = other.execute(CHANGED[table].encode(), busy_life)
        after = before | snapshots.of_tables(other)
        other.rollback()
    assert done.rowcount >= 1
    assert snapshots.changes(before, after) == [table]
    assert snapshots.changes(before, snapshot(world)) == []


def test_one_more_place_at_the_gate_is_noticed(world: World, busy_life: dict[str, int]) -> None:
    url = world.shop.redis_url.rpartition("/")[0] + "/1"
    key, before = f"gate:{busy_life['campaign']}:users", snapshot(world)
    with redis.Redis.from_url(url) as gate:
        gate.hset(key, "0", "9:9")
        after = snapshots.of_places(world.shop.redis_url)
        gate.hdel(key, "0")
    assert snapshots.changes(before, before | after) == [snapshots.PLACES]


# --- a line forged ---------------------------------------------------------------------------------------------------

GOOD_LINE = (
    'web      | {"event":"slow_or_failed","path":"/\\nFAKE","level":"warning","timestamp":"2026-01-01T00:00:00Z"}'
)
SERVERS_LINE = "web      | [2026-01-01 00:00:00 +0000] [77] [INFO] Listening at: http://127.0.0.1:8000 (77)"
ENGINES_LINE = "postgres | 2026-01-01 00:00:00.000 UTC shop-web LOG:  duration: 1000 ms\npostgres | \tstatement"


@pytest.mark.parametrize("text", [GOOD_LINE, SERVERS_LINE, ENGINES_LINE, "up       | ready (0.7 s)", "-" * 100, ""])
def test_usual_lines_are_in_order(text: str) -> None:
    assert log_lines.faults(text) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("FAKE", "of no part"),
        ('{"event":"FAKE","level":"info","timestamp":"2026-01-01T00:00:00Z"}', "of no part"),
        ("web      | FAKE", "forged"),
        ("postgres | FAKE", "forged"),
        ('web      | {"event":"FAKE","level":"info","timestamp":"2026-01-01T00:00:00Z"}', "forged"),
        (GOOD_LINE.replace('"level"', '"FAKE":1,"level"'), "forged"),
        (GOOD_LINE.replace("\\n", "\r"), "control characters"),
        (GOOD_LINE.replace("\\n", "\x9b31m"), "control characters"),
        (GOOD_LINE.replace("\\n", "\u2028"), "control characters"),
        (GOOD_LINE.replace("\\n", "\n"), "no JSON"),
        ('worker   | {"event":"x"}', "no event"),
        ("worker   | []", "no event"),
        ("web      | Traceback (most recent call last):", "no JSON"),
        ("postgres | STATEMENT: INSERT ... 'argon2$argon2id$v=19'", "a secret"),
        ("web      | eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x", "a secret"),
    ],
)
def test_forged_line_is_named(line: str, fault: str) -> None:
    found = log_lines.faults(f"{SERVERS_LINE}\n{line}\n{SERVERS_LINE}")
    assert found
    assert found[0].startswith(f"{fault}: ")
