"""The container files: valid, without secrets, and the same command lines and settings as `manage.py up`."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from config import env
from shop import connections, health
from shop.local import parts, postgres, valkey

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE = ROOT / "docker-compose.yml"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
SHOP_PARTS = ("migrate", "web", "worker", "beat", "metrics")
DATA = re.compile(r"=.*")
IMAGE_COMMAND = re.search(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def command_of(name: str) -> list[str]:
    assert IMAGE_COMMAND is not None
    command: list[str] = SERVICES[name].get("command") or yaml.safe_load(IMAGE_COMMAND[1])
    return command


def options_of(command: Any) -> set[str]:
    """Return what a command line is made of, without the values that differ from place to place."""
    return {DATA.sub("", part) if part.startswith("--") else part for part in command}


def test_compose_file_follows_the_specification() -> None:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["web", "worker", "beat", "metrics"])
def test_parts_are_started_as_up_starts_them(name: str) -> None:
    session: Any = SimpleNamespace(data_dir=Path("/data"), metrics_dir=Path("/metrics"))
    listener: Any = SimpleNamespace(fileno=lambda: 3)
    programs = {program.name: program for program in parts.programs(session, listener=listener, workers=2)}
    own = {"python", "--worker-tmp-dir", "--host", "0.0.0.0", "--port", "9100"}  # noqa: S104 - inside a container
    assert options_of(command_of(name)) - own == options_of(programs[name].command)
    assert SERVICES[name]["environment"]["SHOP_PART"] == name


def test_only_settings_that_exist_are_passed() -> None:
    known = {*env.VARIABLES, "PROMETHEUS_MULTIPROC_DIR"}
    for name in SHOP_PARTS:
        assert set(SERVICES[name]["environment"]) - {"<<"} <= known, name


NOT_PASSED = {
    *("SHOP_DATABASE_ROLE", "SHOP_DATA_DIR", "SHOP_WEB_SERVER", "SHOP_K6"),
    *("SHOP_METRICS_PORT", "SHOP_TESTING", "SHOP_FAILPOINTS"),
}
"""Settings of commands, of `up` and of tests; what a container decides by its command line or its place."""


def test_every_setting_of_the_shop_reaches_it() -> None:
    """Else somebody writes it into .env, and nobody tells that it is not read."""
    passed = set().union(*(SERVICES[name]["environment"] for name in SHOP_PARTS))
    passed |= set(SERVICES["migrate"]["environment"])
    assert set(env.VARIABLES) - passed == NOT_PASSED


def test_what_is_not_set_has_the_settings_default() -> None:
    for name, default in re.findall(r"^  (SHOP_[A-Z_]+): \$\{\1:-(.*)\}$", COMPOSE.read_text(), re.MULTILINE):
        wanted = env.VARIABLES[name].default
        own = {"SHOP_ALLOWED_HOSTS": "127.0.0.1,localhost"}
        assert default == own.get(name, str(wanted).lower() if isinstance(wanted, bool) else str(wanted)), name


def test_request_counters_meet_in_one_directory() -> None:
    for name in ("web", "metrics"):
        environment = SERVICES[name]["environment"]
        assert environment["SHOP_METRICS_DIR"] == environment["PROMETHEUS_MULTIPROC_DIR"] == "/metrics"
        assert any(volume.startswith("metrics:/metrics") for volume in SERVICES[name]["volumes"])


def test_secrets_have_no_default() -> None:
    used = re.findall(r"\$\{([A-Z_]+)(:?[-?])?", COMPOSE.read_text())
    secret = {name for name, variable in env.VARIABLES.items() if variable.secret} | {
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
    }
    assert {name for name, _ in used} >= secret
    assert {how for name, how in used if name in secret} == {":?"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    user = service.get("user") or re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert user in ("postgres", "valkey", "10001:10001")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_every_server_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_parts_wait_for_engines_and_migrations() -> None:
    for name in ("web", "worker", "beat", "metrics"):
        assert {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()} == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "migrate": "service_completed_successfully",
        }


def test_engines_are_set_up_as_the_embedded_ones() -> None:
    here = {"listen_addresses", "unix_socket_directories", "log_line_prefix", "password_encryption"}
    set_up = {f"--{name}={value}" for name, value in postgres.SETTINGS.items() if name not in here}
    # Embedded: by what it needs, by the machine's memory.
    sized = {"--max_connections=100", "--shared_buffers=${POSTGRES_SHARED_BUFFERS:-256MB}"}
    assert set_up | sized == set(SERVICES["postgres"]["command"][1:])
    command = SERVICES["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    for name, value in (valkey.DURABLE | {"maxmemory-policy": valkey.SETTINGS["maxmemory-policy"], "save": ""}).items():
        assert given[f"--{name}"] == value


def test_heartbeat_check_tells_a_deaf_worker() -> None:
    check = SERVICES["worker"]["healthcheck"]["test"]
    assert check == SERVICES["beat"]["healthcheck"]["test"]

    def look() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *check[2:]],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},  # as the image says
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr.strip().rpartition("\n")[2]

    connections.flags().delete(health.HEARTBEAT_KEY)
    assert look() == (1, "TimeoutError: no worker has run a task yet")
    health.beat_heart()
    assert look() == (0, "")
    connections.flags().delete(health.HEARTBEAT_KEY)


def test_only_the_migrations_know_the_owner_and_the_reader() -> None:
    for name in SHOP_PARTS:
        known = {"SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL"} & set(SERVICES[name]["environment"])
        assert len(known) == (2 if name == "migrate" else 0), name
