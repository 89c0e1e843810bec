"""
Become the program named on the command line, tied to the supervisor's life and under the account it asked for.

Run as a script by `processes.spawn`, by path and without site-packages (15 ms): a preexec function in the supervisor
would run between fork and exec of a threaded process, where any lock may be held for ever.
Arguments: PARENT SIGNAL UID GID CAPABILITY PROGRAM ARGUMENT…; a UID of -1 keeps the account, a CAPABILITY of -1 is
none.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522


def prctl(option: int, *arguments: int) -> None:
    """Call prctl(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def keep_only(capability: int) -> None:
    """Hold just this capability, across exec too (ambient)."""
    bits = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def become(uid: int, gid: int, capability: int) -> None:
    """
    Change to an unprivileged account for good; `capability` opens directories that are closed to it.

    NO_SETUID_FIXUP keeps the capability across setuid, and makes access(2) honour it: PostgreSQL looks for its
    own program with access(2) and would not find it in a directory that only the capability opens.
    """
    if capability >= 0:
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability >= 0:
        keep_only(capability)


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid, capability = map(int, arguments[:5])
    if uid >= 0:
        become(uid, gid, capability)
    prctl(PR_SET_PDEATHSIG, death_signal)  # after setuid, which clears it
    if os.getppid() != parent:
        sys.exit("the supervisor ended while this part was starting")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv(arguments[5], arguments[5:])  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main(sys.argv[1:])
