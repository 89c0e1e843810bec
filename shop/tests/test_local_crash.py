"""What `manage.py up` survives, and how it ends: each test has a shop of its own to break."""

import os
import re
import secrets
import signal
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis

from shop.local import processes
from shop.testing_shop import RunningShop, start_shop

STOP_LIMIT_SECONDS = 15.0
PARTS = ("web", "worker", "beat", "metrics", "valkey-server", "postgres")


def is_ready(shop: RunningShop) -> bool:
    try:
        with urllib.request.urlopen(f"{shop.base_url}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def own_shop(tmp_path: Path) -> Iterator[RunningShop]:
    """A shop this test may break."""
    shop = start_shop(tmp_path / "shop")
    yield shop
    shop.stop()


def test_every_part_that_is_killed_comes_back(own_shop: RunningShop) -> None:
    for name in PARTS:
        before = own_shop.part(name)
        os.kill(min(before), signal.SIGKILL)
        assert processes.wait_until(partial(came_back, own_shop, name, before), 20.0), name
    assert processes.wait_until(lambda: is_ready(own_shop), 20.0), own_shop.log.read_text()[-4000:]
    assert own_shop.stop() == 0


def came_back(shop: RunningShop, name: str, before: list[int]) -> bool:
    return bool(found := shop.part(name)) and not set(found) & set(before)


def test_sigterm_stops_in_order_and_leaves_data_and_no_process(own_shop: RunningShop) -> None:
    secret = own_shop.services["SHOP_SECRET_KEY"]
    running = own_shop.everything()
    assert len(running) > len(PARTS)
    began = time.monotonic()
    assert own_shop.stop() == 0
    assert time.monotonic() - began < STOP_LIMIT_SECONDS
    assert own_shop.everything() == []
    order = re.findall(r"\| stopping (\w+)", own_shop.log.read_text())
    assert order == ["web", "beat", "worker", "metrics", "valkey", "postgres"]
    left = own_shop.services
    assert left["SHOP_SECRET_KEY"] == secret
    assert not {"DATABASE_URL", "REDIS_URL", "web_url", "metrics_url"} & set(left)


def test_second_signal_hurries(own_shop: RunningShop) -> None:
    for pid in own_shop.part("worker"):
        os.kill(pid, signal.SIGSTOP)  # it would use up its whole grace
    own_shop.child.send_signal(signal.SIGINT)
    assert processes.wait_until(lambda: "stopping worker" in own_shop.log.read_text(), 10.0)
    began = time.monotonic()
    own_shop.child.send_signal(signal.SIGINT)
    assert processes.wait_until(lambda: processes.has_ended(own_shop.child), 10.0)
    assert time.monotonic() - began < 3.0
    assert own_shop.everything() == []


def test_nothing_outlives_a_killed_supervisor(own_shop: RunningShop) -> None:
    os.kill(own_shop.child.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: own_shop.everything() == [], STOP_LIMIT_SECONDS), own_shop.everything()


def test_kill_9_of_everything_loses_nothing(own_shop: RunningShop) -> None:
    port, mark = int(own_shop.base_url.rpartition(":")[2]), secrets.token_hex(8)
    password = own_shop.services["POSTGRES_PASSWORD"]
    with psycopg.connect(own_shop.owner_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (mark text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [mark])
    with redis.Redis.from_url(own_shop.redis_url) as client:
        client.set("kept", mark)
    for pid in own_shop.everything():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # died of its parent's death
    again = start_shop(own_shop.data_dir, port=port)
    try:
        assert again.services["POSTGRES_PASSWORD"] == password
        with psycopg.connect(again.owner_url) as connection:
            assert connection.execute("SELECT mark FROM kept").fetchall() == [(mark,)]
        with redis.Redis.from_url(again.redis_url, decode_responses=True) as client:
            assert client.get("kept") == mark
    finally:
        assert again.stop() == 0


def test_up_takes_over_from_orphans_of_a_killed_supervisor(own_shop: RunningShop) -> None:
    """Frozen orphans cannot follow the kernel's signal; the next `up` must not work beside them."""
    orphans = [pid for name in ("web", "worker", "valkey-server") for pid in own_shop.part(name)]
    for pid in orphans:
        os.kill(pid, signal.SIGSTOP)
    os.kill(own_shop.child.pid, signal.SIGKILL)
    again = start_shop(own_shop.data_dir, port=int(own_shop.base_url.rpartition(":")[2]))  # which the web still holds
    try:
        assert not set(orphans) & set(again.everything())
    finally:
        assert again.stop() == 0
