"""Keys that could be guessed refuse to start, and no key or password of a running shop is ever logged."""

import os
import subprocess
import sys

import pytest

from config import env
from config.tests.client import Client
from config.tests.conftest import World, secrets_in
from shop.testing_shop import ROOT, RunningShop, clean_environment

GOOD = "4f1d9c62b07a8e35d1c94a6f0b83e72d"
OTHER = GOOD[::-1]


def started(part: str, **environment: str) -> tuple[int, str]:
    """Load the settings as this part does; return the exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=clean_environment() | {"SHOP_DATA_DIR": "/nowhere", "SHOP_PART": part} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("part", ["web", "worker", "beat", "metrics"])
def test_part_without_keys_refuses_to_start(part: str) -> None:
    code, said = started(part)
    assert (code, said.partition(";")[0]) == (2, "SHOP_SECRET_KEY: missing")


def test_part_with_one_key_for_both_refuses_to_start() -> None:
    code, said = started("web", SHOP_SECRET_KEY=GOOD, SHOP_JWT_KEY=GOOD)
    assert (code, said) == (2, "SHOP_JWT_KEY is SHOP_SECRET_KEY: tokens need a key of their own\n")
    assert started("web", SHOP_SECRET_KEY=GOOD, SHOP_JWT_KEY=OTHER) == (0, "")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "missing"),
        (GOOD[:-1], "shorter than 32 bytes"),
        ("CHANGE-ME-" + GOOD, "looks like a placeholder"),
        ("django-insecure-" + GOOD, "looks like a placeholder"),
        ("my-Secret-key-that-nobody-will-ever-know", "looks like a placeholder"),
        ("x" * 64, "looks like a placeholder"),
        ("build-build-build-build-build-build-build", "looks like a placeholder"),
        ("0123456789abcdef0123456789abcdef", "looks like a placeholder"),
        (GOOD, ""),
    ],
)
def test_weak_key_is_told_from_a_random_one(key: str, why: str) -> None:
    assert env.weakness(key) == why


@pytest.mark.parametrize("name", ["SHOP_SECRET_KEY", "SHOP_JWT_KEY"])
def test_weak_key_is_refused_also_by_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, name, "password" * 8)
    for part in ("web", "command"):
        with pytest.raises(env.BadEnvironment, match=f"^{name}: looks like a placeholder; make one with"):
            env.secret(name, part)


def test_command_without_a_key_gets_one_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "service", lambda name: "")
    made = {env.secret("SHOP_JWT_KEY", "command") for _ in range(3)}
    assert len(made) == 3
    assert {env.weakness(key) for key in made} == {""}


def test_logs_of_the_running_shop_hold_no_secret(running_shop: RunningShop, client: Client, world: World) -> None:
    """At the end of every session the client looks at the whole log again (config/tests/conftest.py)."""
    client.get("/readyz")
    log, services = running_shop.log.read_text(), running_shop.services
    assert secrets_in(log, services) == []
    assert {"POSTGRES_APP_PASSWORD", "SHOP_JWT_KEY", "VALKEY_PASSWORD"} <= set(services)
    assert world.token(1) not in log


def test_control_secret_in_a_log_is_found() -> None:
    services = {"SHOP_JWT_KEY": GOOD, "POSTGRES_PASSWORD": OTHER, "web_url": "http://127.0.0.1"}
    assert secrets_in(f"http://127.0.0.1 connecting as shop:{OTHER}@", services) == ["POSTGRES_PASSWORD"]
