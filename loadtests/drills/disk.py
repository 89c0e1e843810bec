"""A small disk for PostgreSQL: a tmpfs that fills up in a moment."""

import subprocess
from pathlib import Path

from loadtests.drills.errors import NotPossible

MEGABYTES = 320  # the cluster, its log for a while, and little else
MOUNT = ("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs")


def mount(directory: Path) -> None:
    """Mount a small tmpfs. Raises NotPossible where this process may not mount."""
    directory.mkdir()
    try:
        done = subprocess.run([*MOUNT, str(directory)], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise NotPossible("no_mount") from error
    if done.returncode:
        raise NotPossible("no_mount")


def unmount(directory: Path) -> None:
    """Take the disk away, if it is there, with all that is on it."""
    if directory.is_mount():
        command = ["umount", "--lazy", str(directory)]  # lazy: whoever still looks at it must not keep it for ever
        subprocess.run(command, capture_output=True, check=False)
