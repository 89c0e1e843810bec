"""The unprivileged account the engines run under when the shop is started by root (PostgreSQL refuses root)."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from shop.local.errors import CannotStart

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """Who an engine runs as; `capability` lets it pass directories closed to it (a clone below a mode-700 one)."""

    uid: int
    gid: int
    capability: int | None = None

    def own(self, path: Path) -> None:
        """Give the account a file or directory of ours."""
        os.chown(path, self.uid, self.gid)


def _identity(owned: Path) -> tuple[int, int]:
    if owned.exists() and (owner := owned.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return 65_534, 65_534


def may_pass(path: Path, uid: int, gid: int) -> bool:
    """Tell whether the account can reach `path` through every directory above it."""
    for directory in path.resolve().parents:
        entry = directory.stat()
        if entry.st_uid == uid:
            allowed = entry.st_mode & stat.S_IXUSR
        elif entry.st_gid == gid:
            allowed = entry.st_mode & stat.S_IXGRP
        else:
            allowed = entry.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def opening_capability() -> int | None:
    """Return the smaller of the two capabilities that open closed directories, if this process holds one of them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return next((number for number in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held >> number & 1), None)
    return None


def engine_account(owned: Path, *programs: Path) -> Account | None:
    """
    Return the account for an engine whose data lie in `owned`, or None when we are not root and need no other.

    Raises: CannotStart when a directory on the way is closed to the account and root may not open it.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _identity(owned)
    closed = [path for path in (owned, *programs) if not may_pass(path, uid, gid)]
    if not closed:
        return Account(uid, gid)
    if (capability := opening_capability()) is None:
        name = pwd.getpwuid(uid).pw_name
        raise CannotStart(f"{closed[0]} cannot be reached by {name}, under whom PostgreSQL runs: move the project")
    return Account(uid, gid, capability)
