"""
Make .venv and install the hashed requirements named on the command line; does nothing when nothing has changed.

Run by make with any Python 3.11 to 3.13, before anything is installed: standard library only.
"""

import fcntl
import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PLACE = VENV / ".made-at"
# Hashes and pins are complete (`make lock`), so there is nothing to resolve; byte code is written by the first import,
# which compiles the fifth of it that is ever used.
INSTALL = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile", "--require-hashes"]


def digest(requirements: Path) -> str:
    """Say what the environment should hold: changes with the file, the interpreter and the place of the project."""
    said = f"{VENV}\n{sys.version}\n".encode() + requirements.read_bytes()
    return hashlib.sha256(said).hexdigest()


def stamp(requirements: Path) -> Path:
    return VENV / f".installed-{requirements.stem}"


def is_installed(requirements: Path) -> bool:
    try:
        return stamp(requirements).read_text() == digest(requirements) and PYTHON.exists()
    except OSError:
        return False


def works() -> bool:
    """Tell whether .venv runs this version of Python and was made here: its scripts name the place of their making."""
    if PLACE.exists() and PLACE.read_text() != str(VENV):
        return False
    question = "import sys; print(sys.prefix, *sys.version_info[:2])"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == f"{VENV} {sys.version_info[0]} {sys.version_info[1]}"


def pip() -> list[str]:
    """Return the command that installs into .venv: its own pip, else this Python's (Debian ships them apart)."""
    if any(VENV.glob("lib/python3*/site-packages/pip")):
        return [str(PYTHON), "-m", "pip", "install"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", f"--python={PYTHON}", "install"]
    sys.exit(f"{sys.executable} has neither ensurepip nor pip: install python3-venv, or set PYTHON to another Python")


def make() -> None:
    """Make .venv, without pip where Python has none to give."""
    without_pip = [] if importlib.util.find_spec("ensurepip") else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", "--clear", *without_pip, VENV], check=True)
    PLACE.write_text(str(VENV))


def compile_installed() -> None:
    """
    Compile what is installed where Python is told to keep no byte code of what it imports.

    Else each process compiles its 1,300 modules anew: some 10 MB that it never gives back, and more than half of the
    time its imports take.
    """
    if sys.dont_write_bytecode:
        packages = VENV.glob("lib/python3*/site-packages")
        options = ("-q", "-j", "0")
        subprocess.run(
            [PYTHON, "-m", "compileall", *options, *packages],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,  # some files are templates, or for other versions of Python
        )


def main(names: list[str]) -> None:
    wanted = [ROOT / name for name in names]
    if all(map(is_installed, wanted)):
        return
    began = time.monotonic()
    with (ROOT / "requirements.in").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make run` and `make test` started together must not both install
        if not works():
            make()
        for requirements in wanted:
            if not is_installed(requirements):
                sys.stderr.write(f"installing {requirements.name} into .venv\n")
                subprocess.run([*pip(), *INSTALL, "--requirement", requirements], check=True)
                stamp(requirements).write_text(digest(requirements))
        compile_installed()
    sys.stderr.write(f"set up in {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(f"set-up failed: {error.cmd[0]} ended with {error.returncode}; what it said is above")
