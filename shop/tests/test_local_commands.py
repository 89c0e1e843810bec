"""What every command promises: exit codes, one clear line, help at once; and what `doctor` finds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from shop.local import ports
from shop.testing_shop import ROOT, RunningShop, clean_environment, run_manage

FEW_OPEN_FILES = (
    "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000));"
    " sys.argv = ['manage.py', *sys.argv[1:]]; runpy.run_path('manage.py', run_name='__main__')"
)


@pytest.mark.parametrize("command", ["up", "doctor", "metrics"])
def test_help_has_examples_and_touches_nothing(command: str, tmp_path: Path) -> None:
    done = run_manage(command, "--help", data_dir=tmp_path / "shop")
    assert done.returncode == 0
    assert "examples:\n  manage.py" in done.stdout.replace("SHOP_METRICS_PORT=9100 ", "")
    assert not (tmp_path / "shop").exists()


def test_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    done = run_manage("doctor", "--jsno", data_dir=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("error: unrecognized arguments: --jsno\n")


def test_doctor_is_content_with_the_running_shop(running_shop: RunningShop) -> None:
    done = running_shop.manage("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(" 0 wrong\n")
    assert "PostgreSQL           18" in done.stdout


def test_doctor_shows_no_secret(running_shop: RunningShop) -> None:
    done = running_shop.manage("doctor")
    services = running_shop.services
    for name in ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "SHOP_SECRET_KEY", "SHOP_JWT_KEY"):
        assert services[name] not in done.stdout


def test_doctor_prints_one_json_document(running_shop: RunningShop) -> None:
    document = json.loads(running_shop.manage("doctor", "--json").stdout)
    assert document["ok"] is True
    assert {"fsync", "synchronous_commit", "full_page_writes", "eviction", "clock", "migrations"} <= {
        finding["name"] for finding in document["findings"]
    }


def test_doctor_names_an_evicting_redis_and_its_fix(running_shop: RunningShop) -> None:
    with redis.Redis.from_url(running_shop.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = running_shop.manage("doctor")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 3
    assert "!! eviction             allkeys-lru\n" in done.stdout
    assert "-> CONFIG SET maxmemory-policy noeviction" in done.stdout


def test_doctor_names_too_few_open_files(running_shop: RunningShop) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_OPEN_FILES, "doctor", "--data-dir", str(running_shop.data_dir)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert "!! open files           1,000\n" in done.stdout


def test_doctor_without_any_server_is_exit_code_4(tmp_path: Path) -> None:
    done = run_manage("doctor", data_dir=tmp_path / "shop")
    assert done.returncode == 4
    assert done.stdout.count("start `python manage.py up`") >= 2
    assert re.findall(r"^ *!! (SHOP_\w+_KEY) +missing$", done.stdout, re.MULTILINE) == [
        "SHOP_SECRET_KEY",
        "SHOP_JWT_KEY",
    ]
    assert "Traceback" not in done.stderr


def test_up_refuses_a_redis_that_evicts(running_shop: RunningShop, tmp_path: Path) -> None:
    with redis.Redis.from_url(running_shop.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            port = str(ports.free_port())
            done = run_manage("up", "--port", port, data_dir=tmp_path / "shop", REDIS_URL=running_shop.redis_url)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 2
    assert "Redis evicts any key (maxmemory-policy allkeys-lru): set it to noeviction" in done.stderr


def test_up_refuses_a_database_with_too_few_connections(running_shop: RunningShop, tmp_path: Path) -> None:
    done = run_manage(
        *("up", "--port", str(ports.free_port())),
        data_dir=tmp_path / "shop",
        DATABASE_URL=running_shop.database_url,
        SHOP_WEB_THREADS="60",
    )
    assert done.returncode == 2
    assert "PostgreSQL allows too few connections: 134 needed by web and commands, " in done.stderr
    assert ", 80 may be used; raise max_connections" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SHOP_PROT", "1", "SHOP_PROT: no such setting; did you mean SHOP_PART?\n"),
        ("SHOP_WEB_THREADS", "many", "SHOP_WEB_THREADS: not a valid int: threads in each web process\n"),
        ("SHOP_BATCH_SIZE", "0", "SHOP_BATCH_SIZE: 0 is not at least 1: orders settled in one transaction at most\n"),
        ("SHOP_TIME_ZONE", "Asia/Seol", "SHOP_TIME_ZONE: 'Asia/Seol' is no time zone, as Asia/Seoul is one\n"),
        ("SHOP_TIME_ZONE", "../etc", "SHOP_TIME_ZONE: '../etc' is no time zone, as Asia/Seoul is one\n"),
        (
            "SHOP_METRICS_PORT",
            "x",
            "SHOP_METRICS_PORT: not a valid int: port of the Prometheus exporter; 0 takes a free one\n",
        ),
    ],
)
@pytest.mark.parametrize("command", ["up", "doctor"])
def test_wrong_setting_is_one_line_and_exit_code_2(
    command: str, name: str, value: str, line: str, tmp_path: Path
) -> None:
    done = run_manage(command, data_dir=tmp_path / "shop", **{name: value})
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
