"""What the documents say is so: settings, commands, links, and the walk through the API as it is printed."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands

from config import env
from shop.testing_shop import start_shop

ROOT = Path(__file__).resolve().parent.parent.parent
README, KOREAN = ROOT / "README.md", ROOT / "README.ko.md"
BOTH = pytest.mark.parametrize("page", [README, KOREAN], ids=["en", "ko"])
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CHANGING = re.compile(r'"(created_at|settled_at|updated_at|at|request_id)":"[^"]*"')
PRINTED_BASE = "http://127.0.0.1:8000"


def shown(default: Any) -> str:
    if isinstance(default, list):
        return f"`{','.join(default)}`"
    if default == "":
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def rows_of(page: Path, heading: int) -> list[list[str]]:
    """Return the rows of the table in the numbered section (0-based), without head and rule."""
    section = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[heading + 1]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def examples(page: Path) -> list[tuple[str, str]]:
    """Return the commands of the console blocks with what is printed below each."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    found: list[tuple[str, str]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            command, output = found[-1]
            found[-1] = (command, f"{output}\n{line}".strip())
    return found


def sections(page: Path) -> list[str]:
    return re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)


OURS = {config.name for config in apps.get_app_configs() if Path(config.path).parent == ROOT}
SETTINGS, COMMANDS = sections(README).index("Settings"), sections(README).index("Commands")


@BOTH
def test_settings_table_is_what_is_read(page: Path) -> None:
    said = [cells[:3] for cells in rows_of(page, SETTINGS)]
    assert said == [[f"`{name}`", it.kind, shown(it.default)] for name, it in env.VARIABLES.items()]


def test_settings_are_explained_in_their_own_words() -> None:
    assert [cells[3] for cells in rows_of(README, SETTINGS)] == [it.about for it in env.VARIABLES.values()]


@BOTH
def test_all_our_commands_are_listed_and_no_others(page: Path) -> None:
    names = [cells[0].strip("`") for cells in rows_of(page, COMMANDS)]
    assert set(names) == {name for name, app in get_commands().items() if app in OURS}
    assert names == [cells[0].strip("`") for cells in rows_of(README, COMMANDS)]


def test_both_languages_show_the_same() -> None:
    assert examples(KOREAN) == examples(README)
    assert len(sections(KOREAN)) == len(sections(README))
    shell = re.compile(r"^(?:owner=|cat > |[A-Z_]+=|docker compose ).*$", re.MULTILINE)
    assert shell.findall(KOREAN.read_text()) == shell.findall(README.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_picture_is_drawn_for_light_and_dark() -> None:
    drawing = (ROOT / "docs/img/pipeline.svg").read_text()
    assert "prefers-color-scheme: dark" in drawing
    assert "<title" in drawing


@pytest.mark.xdist_group("shop")
def test_walk_prints_what_it_says(tmp_path: Path) -> None:
    steps = examples(README)
    assert len(steps) >= 15
    shop = start_shop(tmp_path / "shop", seed=True)
    try:
        script = "\n".join(f"{command}\nprintf '\\n@@\\n'" for command, _ in steps)
        done = subprocess.run(
            ["/bin/bash", "-c", script.replace(PRINTED_BASE, shop.base_url)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shop.stop()
    said = [part.strip() for part in done.stdout.replace("\r", "").replace(shop.base_url, PRINTED_BASE).split("@@\n")]
    for (command, printed), output in zip(steps, said[:-1], strict=True):
        assert CHANGING.sub("…", output) == CHANGING.sub("…", printed), command
