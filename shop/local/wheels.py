"""Where pip put the engines' programs."""

import importlib.util
from pathlib import Path

from shop.local.errors import CannotStart


def program(package: str, pattern: str, *, instead: str) -> Path:
    """
    Return the program inside an installed wheel, without importing the wheel's own code.

    Raises: CannotStart when the wheel is not installed or has no program for this machine.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(place).glob(pattern)):
            return path
    distribution = package.replace("_", "-")
    raise CannotStart(f"{distribution} is not installed: run `pip install -r requirements.txt`, or set {instead}")
