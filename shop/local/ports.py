"""Free TCP ports on the loopback address."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST, ATTEMPTS = 15_000, 200


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _below_ephemeral() -> int:
    try:
        return max(int(EPHEMERAL_RANGE.read_text().split()[0]), FIRST + 1_000)
    except (OSError, ValueError, IndexError):
        return 32_768


def free_port(preferred: int = 0) -> int:
    """
    Return the preferred port if nobody listens there, else another one below the ephemeral range.

    Below it, because a client that keeps reconnecting to an ephemeral port nobody listens on can be given that very
    port as its own, connect to itself, and keep the restarted engine from listening.
    """
    if preferred and is_free(preferred):
        return preferred
    end = _below_ephemeral()
    for _ in range(ATTEMPTS):
        if is_free(port := random.randrange(FIRST, end)):  # noqa: S311 - not a secret
            return port
    raise OSError(f"no free port between {FIRST} and {end} on {LOOPBACK}")
