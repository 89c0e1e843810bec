"""Which k6 loads the shop."""

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from loadtests.generator import NoGenerator, find_k6, k6_version


def says(directory: Path, text: str) -> str:
    """Make a program that prints a text, whatever it is asked; return its path."""
    program = directory / "k6"
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(0o755)
    return str(program)


def test_another_k6_may_be_named(settings: Any, tmp_path: Path) -> None:
    settings.K6 = says(tmp_path, "k6 v2.3.1 (commit/0123abc, go1.26.0, linux/amd64)")
    assert (find_k6(), k6_version()) == (tmp_path / "k6", "2.3.1")


def test_one_with_extensions_tells_its_version_too(settings: Any, tmp_path: Path) -> None:
    settings.K6 = says(tmp_path, "k6-linux-amd64 v1.7.0 (go1.25.0, linux/amd64)")
    assert k6_version() == "1.7.0"


def test_what_is_no_program_is_refused(settings: Any, tmp_path: Path) -> None:
    settings.K6 = str(tmp_path / "nothing")
    with pytest.raises(NoGenerator, match=r"^SHOP_K6: .*/nothing is no program$"):
        find_k6()


def test_what_is_not_k6_is_refused(settings: Any, tmp_path: Path) -> None:
    settings.K6 = says(tmp_path, "hello")
    with pytest.raises(NoGenerator, match=r"/k6 is not k6: `version` said 'hello"):
        k6_version()


def test_without_a_choice_it_is_the_one_of_the_requirements(settings: Any) -> None:
    settings.K6 = ""
    assert find_k6().name == "k6"
    assert k6_version() == metadata.version("k6")
