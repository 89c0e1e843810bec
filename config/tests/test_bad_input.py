"""The whole catalogue of bad input (FAULTS.md 5, B1-B188) over HTTP against the running shop, one row per number."""

from collections import Counter
from collections.abc import Iterator

import pytest

from config.tests import log_lines, snapshots
from config.tests.bad_input import accounts, general, money, orders, reads
from config.tests.bad_input.rows import CLOSE, LINE
from config.tests.bad_input.scene import Scene
from config.tests.bad_input.sending import SCENARIOS, answers_to, prepare
from config.tests.conftest import World
from shop.testing import wait_until

CATALOGUE = (*general.ROWS, *accounts.ROWS, *money.ROWS, *orders.ROWS, *reads.ROWS)
ROWS = {row.number: row for row in CATALOGUE}
LAST = 188


def snapshot(world: World) -> snapshots.Snapshot:
    """Return everything the shop knows, once nothing is under way."""
    world.assert_settled()
    return snapshots.of_tables(world.database) | snapshots.of_places(world.shop.redis_url)


@pytest.fixture(scope="module", autouse=True)
def aftermath(world: World) -> Iterator[None]:
    """After all rows the books balance, and the log holds no line that a client wrote and no secret."""
    yield
    world.assert_audit_clean()
    assert log_lines.faults(world.shop.log.read_text(errors="replace")) == []


def test_every_number_has_one_row_that_sends_something() -> None:
    assert Counter(row.number for row in CATALOGUE) == Counter(range(1, LAST + 1))
    assert [row.number for row in CATALOGUE if not row.requests or row.scenario not in SCENARIOS] == []
    assert [row.number for row in CATALOGUE if row.status >= 400 and not row.code and not row.is_servers_own] == []


def test_words_of_a_client_reach_the_log_escaped(world: World) -> None:
    """The admin logs an address whose form nobody had: one line, and nothing in it that ends a line."""
    log, length = world.shop.log, world.shop.log.stat().st_size
    said = world.client.raw(b"POST /admin/x%0d%C2%85%E2%80%A8FAKE HTTP/1.1\r\n" + LINE + CLOSE)
    assert said.startswith(b"HTTP/1.1 403 ")

    def lines() -> list[str]:
        return [line for line in log.read_bytes()[length:].decode().split("\n") if "FAKE" in line]

    wait_until(lambda: bool(lines()))
    (line,) = lines()
    assert r"/admin/x\\r\\x85\\u2028FAKE" in line  # by Django, and its backslashes by JSON
    assert log_lines.faults(line) == []


@pytest.mark.parametrize("number", sorted(ROWS), ids=lambda number: f"B{number}")
def test_row(world: World, number: int) -> None:
    row, scene = ROWS[number], Scene(world)
    prepare(row, scene)
    before, balance = snapshot(world), world.balance(scene.me)
    answers_to(row, scene)
    changed = snapshots.changes(before, snapshot(world))
    assert world.balance(scene.me) - balance == row.charged
    if row.is_refusal:
        assert [name for name in changed if name not in row.may_change] == []
