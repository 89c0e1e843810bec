"""Every drill is complete: texts, runbook and guard; and every command a runbook names exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.core.management.base import CommandError

from loadtests.drills import registry, traffic
from loadtests.drills.incident import Check, Incident, Pace
from loadtests.drills.shims import sitecustomize
from loadtests.drills.texts import LANGUAGES, words
from loadtests.drills.traffic import Cast
from loadtests.management.commands import drill as command
from shop.commands import CommandFailed, Exit

ROOT = Path(__file__).resolve().parent.parent.parent
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
SECTIONS = {
    "en": ["Symptoms", "First five minutes", "Recovery", "Prevention", "Drill"],
    "ko": ["증상", "첫 5분", "복구", "예방", "훈련"],
}
ASKED_FOR = {
    *("web-worker-killed", "web-master-killed", "worker-killed", "worker-child-killed", "beat-killed"),
    *("redis-killed", "postgres-killed", "postgres-restart", "postgres-outage", "commit-cut"),
    *("redis-outage", "redis-frozen", "redis-flushed", "redis-truncated", "redis-full"),
    *("postgres-slow", "postgres-cut", "redis-slow", "redis-cut"),
    *("lock-storm", "deadlock", "idle-in-transaction", "connections-exhausted"),
    *("wakeups-doubled", "wakeups-lost", "wakeups-late", "two-sweepers", "clock-ahead", "disk-full"),
    *("double-clicks", "answers-lost", "retry-storm", "graceful-restart", "postgres-frozen"),
}
CAST = Cast(users=range(1, 41), products=list(range(100, 130)), campaigns=[7, 8])
EVERY_DRILL = pytest.mark.parametrize("name", list(registry.drills()))


def page_of(name: str, language: str) -> Path:
    return RUNBOOKS / (f"{name}.md" if language == "en" else f"{name}.{language}.md")


# --- drills ---------------------------------------------------------------------------------------------------------


def test_every_fault_that_was_asked_for_has_its_drill() -> None:
    assert set(registry.drills()) >= ASKED_FOR


def test_drills_are_chosen_by_name_group_or_all() -> None:
    everything = registry.drills()
    assert next(drill.name for drill in registry.chosen(["beat-killed", "processes"])) == "beat-killed"
    assert {drill.group for drill in registry.chosen(["redis"])} == {"redis"}
    assert len(registry.chosen(["all", "redis"])) == len(everything)
    with pytest.raises(KeyError, match="no-such"):
        registry.chosen(["no-such"])


def test_a_drill_nobody_knows_is_a_usage_error() -> None:
    with pytest.raises(CommandFailed, match="no such drill: no-such") as caught:
        command.Command().run(names=["no-such"], list=False, control=False)
    assert caught.value.exit_code == Exit.USAGE
    with pytest.raises((CommandFailed, CommandError), match="nothing to drill"):
        command.Command().run(names=[], list=False, control=False)


@pytest.mark.parametrize(
    ("broken", "without", "is_as_meant"),
    [
        ([], False, True),
        (["audit"], False, False),
        (["recovered"], True, True),
        (["audit"], True, False),  # it failed, but not for want of its guard
        ([], True, False),
    ],
)
def test_a_control_must_fail_for_want_of_its_guard(broken: list[str], without: bool, is_as_meant: bool) -> None:
    drills = registry.chosen(["wakeups-lost"])
    (drill,) = command.without_guards(drills) if without else drills
    checks = tuple(Check(key=key, is_ok=key not in broken) for key in ("audit", "recovered"))
    played = Incident(drill=drill, seed=1, began_at="", pace=Pace(), checks=checks)
    assert played.is_as_meant == is_as_meant


def test_every_guard_that_can_be_taken_away_has_a_drill_that_misses_it() -> None:
    controls = {drill.control.without for drill in registry.drills().values() if drill.control}
    assert controls == set(sitecustomize.GUARDS)
    without = command.without_guards(list(registry.drills().values()))
    assert {drill.plan.without for drill in without} == controls


# --- the schedule ---------------------------------------------------------------------------------------------------


def schedule(name: str = "redis-outage", seed: int = 1) -> list[traffic.Op]:
    return traffic.plan(name, seed=seed, cast=CAST, rate=45.0, seconds=25.0)


def test_the_same_seed_is_the_same_schedule() -> None:
    assert schedule() == schedule()
    assert schedule() != schedule(seed=2)
    assert schedule() != schedule("redis-frozen")


def test_a_schedule_asks_for_every_effect_once() -> None:
    ops = schedule()
    intents = [op.intent for op in ops if op.kind in ("charge", "order")]
    assert len(intents) == len(set(intents)) > 300
    assert {op.kind for op in ops} == set(traffic.SHARES)
    keys = [op.key for op in ops if op.key]
    assert len(keys) == len(set(keys))
    assert 0.75 < len(keys) / sum(op.kind in ("charge", "order", "claim", "cancel") for op in ops) < 0.95
    assert all(op.key for op in ops if op.is_patient)


def test_in_a_pause_nobody_writes() -> None:
    ops = traffic.without_writes(schedule(), start=10.0, end=15.0)
    assert {op.kind for op in ops if 10.0 <= op.at < 15.0} == {"list", "detail", "top", "balance", "follow"}
    assert sum(op.kind == "order" for op in ops) > 100


# --- texts ----------------------------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things() -> None:
    english, korean = (words(language) for language in LANGUAGES)
    assert list(english) == list(korean)
    for group in english:
        assert set(english[group]) == set(korean[group]), group
        for key, text in english[group].items():
            assert fields(text) == fields(korean[group][key]), key


def fields(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)", text))


@EVERY_DRILL
def test_every_drill_has_its_texts_and_its_page(name: str) -> None:
    for language in LANGUAGES:
        title = words(language)["titles"][name]
        assert words(language)["stories"][name]
        page = page_of(name, language).read_text(encoding="utf-8")
        assert page.startswith(f"# {title}\n")
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS[language]
        assert f"`python manage.py drill {name}`" in page
        assert f"]({page_of(name, 'ko' if language == 'en' else 'en').name})" in page


def test_both_languages_of_a_page_give_the_same_commands() -> None:
    for name in registry.drills():
        english, korean = (commands_in(page_of(name, language)) for language in LANGUAGES)
        assert english == korean
        assert english


def test_the_index_lists_every_page_and_no_page_is_left_over() -> None:
    names = set(registry.drills()) | {"README"}
    assert {page.name for page in PAGES} == {page_of(name, language).name for name in names for language in LANGUAGES}
    for language in LANGUAGES:
        listed = re.findall(r"^\| .* \| \[([a-z-]+)\]", page_of("README", language).read_text(), re.MULTILINE)
        assert sorted(listed) == sorted(registry.drills())


# --- what a runbook tells one to do ---------------------------------------------------------------------------------


def commands_in(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for line in "".join(blocks).splitlines() if line and not line.startswith("#")]


def unknown_in(text: str) -> list[str]:
    """Return the management commands, drills, make targets and compose services that do not exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    found: dict[str, Any] = {
        "manage.py": (re.findall(r"manage\.py ([a-z_]+)", text), set(get_commands())),
        "drill": (re.findall(r"manage\.py drill ([a-z-]+)", text), {*registry.drills(), *registry.GROUPS, "all"}),
        "make": (re.findall(r"`make ([a-z-]+)", text), targets),
        "compose": (
            re.findall(r"docker compose (?:ps|start|restart|run --rm|logs --since \w+|exec) ([a-z]+)", text),
            services,
        ),
    }
    return [f"{kind} {name}" for kind, (named, known) in found.items() for name in named if name not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    assert unknown_in(page.read_text(encoding="utf-8").replace("drill NAME", "drill all")) == []


def test_commands_that_do_not_exist_are_found() -> None:
    text = "`manage.py mend`, `manage.py drill flood`, `make peace`, docker compose restart nginx, `manage.py audit`"
    assert unknown_in(text) == ["manage.py mend", "drill flood", "make peace", "compose nginx"]


def test_the_one_liners_of_pages_are_python() -> None:
    lines = [line for page in PAGES for line in commands_in(page)]
    programs = [found[1] for line in lines if (found := re.search(r'manage\.py shell -c "(.*)"$', line))]
    assert len(programs) > 10
    for program in programs:
        compile(program, "runbook", "exec")
