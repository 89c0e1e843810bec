"""The set-up behind `make`: when it does nothing, when it begins again, and what it says when it cannot."""

import importlib.util
import subprocess
import sys
import venv as standard_venv
from pathlib import Path

import pytest

from shop.local import venv


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project directory with requirements of its own."""
    monkeypatch.setattr(venv, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(venv, "PLACE", tmp_path / ".venv" / ".made-at")
    for name in ("requirements.in", "requirements.txt"):
        (tmp_path / name).write_text("# nothing\n")
    return tmp_path


def mark_installed(place: Path) -> Path:
    requirements = place / "requirements.txt"
    venv.PYTHON.parent.mkdir(parents=True)
    venv.PYTHON.symlink_to(sys.executable)
    venv.stamp(requirements).write_text(venv.digest(requirements))
    return requirements


def test_nothing_is_done_when_nothing_has_changed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark_installed(place)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    venv.main(["requirements.txt"])


def test_changed_requirements_are_not_installed(place: Path) -> None:
    requirements = mark_installed(place)
    assert venv.is_installed(requirements)
    requirements.write_text("# something\n")
    assert not venv.is_installed(requirements)


def test_environment_that_was_moved_is_made_anew(place: Path) -> None:
    standard_venv.create(venv.VENV, symlinks=True)
    venv.PLACE.write_text(str(venv.VENV))
    assert venv.works()
    venv.PLACE.write_text("/somewhere/else/.venv")
    assert not venv.works()


def test_python_without_ensurepip_borrows_pip_from_outside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    venv.make()
    assert venv.works()
    assert not list(venv.VENV.glob("lib/python3*/site-packages/pip"))
    assert venv.pip() == [sys.executable, "-m", "pip", f"--python={venv.PYTHON}", "install"]


def test_python_with_neither_says_so_in_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    venv.make()
    with pytest.raises(SystemExit, match=r"^\S+ has neither ensurepip nor pip: install python3-venv, or set PYTHON"):
        venv.pip()


@pytest.mark.parametrize("keeps_none", [True, False])
def test_installed_code_is_compiled_where_imports_would_not_keep_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, keeps_none: bool
) -> None:
    standard_venv.create(venv.VENV, symlinks=True)
    packages = next(venv.VENV.glob("lib/python3*/site-packages"))
    (packages / "sound.py").write_text("ANSWER = 42\n")
    (packages / "template.py").write_text("{% not python %}\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", keeps_none)
    venv.compile_installed()
    compiled = sorted(path.name.partition(".")[0] for path in packages.glob("__pycache__/*.pyc"))
    assert compiled == (["sound"] if keeps_none else [])
