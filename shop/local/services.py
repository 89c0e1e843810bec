"""
The services file: keys, passwords and logins of this data directory, and while the shop runs its addresses.

Mode 0600 and replaced as a whole, so a reader sees the old or the new state and a crash leaves one of them.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from shop.local.errors import CannotStart

ADDRESSES = (
    *("DATABASE_URL", "SHOP_OWNER_DATABASE_URL", "SHOP_READER_DATABASE_URL"),
    *("REDIS_URL", "web_url", "metrics_url"),
)


class Services:
    """What the file holds; every change is on disk before it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if path.exists():
            try:
                self.values = dict(json.loads(path.read_text()))
            except ValueError as error:
                raise CannotStart(
                    f"{path} is not readable JSON: restore it, or move the data directory away"
                ) from error

    def secret(self, name: str) -> str:
        """Return a key that is made once and kept for as long as the data directory."""
        if name not in self.values:
            self.put(**{name: secrets.token_urlsafe(48)})
        return str(self.values[name])

    def port(self, name: str) -> int:
        """Return the port that a part with this name listened on last time, or 0."""
        return int(self.values.get("ports", {}).get(name, 0))

    def put(self, **values: Any) -> None:
        self.values |= values
        self._write()

    def withdraw_addresses(self) -> None:
        """Forget where the shop was reached: it has stopped."""
        for name in ADDRESSES:
            self.values.pop(name, None)
        self._write()

    def _write(self) -> None:
        unfinished = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.values, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)
