"""CPU, memory and waiting of the shop's parts, from /proc; no dependency, a millisecond per reading."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shop.local import processes

TICKS = os.sysconf("SC_CLK_TCK")
PARTS = ("web", "worker", "beat", "metrics")
ENGINES = {"postgres": "postgres", "redis": "valkey-server"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    CPU seconds since each process began, by pid; resident megabytes; what its threads waited for a CPU.

    `waited` seconds in `turns` turns: a thread that is ready to run waited waited/turns on average.
    """

    cpu: Mapping[int, float]
    memory_mb: float
    waited: float = 0.0
    turns: int = 0


def cores(*pids: int) -> int:
    """Return how many CPUs these processes may use together, without any this one; who has ended counts for nothing."""
    found: set[int] = set()
    for pid in pids or (0,):
        with suppress(ProcessLookupError):
            found |= os.sched_getaffinity(pid)
    return len(found)


def memory_total_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def memory_available_mb() -> int:
    """Return what programs can still take before the machine swaps or the disk's cache is squeezed."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) // 2**10


def find_parts(data_dir: Path, *, web_dir: Path | None = None) -> dict[str, list[int]]:
    """Return the processes of the shop in this data directory, by part; engines elsewhere are not found."""
    places = dict.fromkeys(PARTS, data_dir) | ({"web": web_dir} if web_dir else {})
    found = {
        part: processes.with_environment(SHOP_PART=part, SHOP_DATA_DIR=str(place)) for part, place in places.items()
    }
    for part, program in ENGINES.items():
        found[part] = processes.working_in(data_dir / program.partition("-")[0], program)
    return {part: pids for part, pids in found.items() if pids}


def local_ports(pid: int) -> set[int]:
    """Return this side's ports of a process's IPv4 connections: the other side knows the process by them."""
    links = (_link(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    sockets = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in sockets}


def _link(entry: Path) -> str:
    """Return what a descriptor leads to, nothing if it has been closed meanwhile."""
    try:
        return os.readlink(entry)
    except FileNotFoundError:
        return ""


def use_of(pids: list[int]) -> Use:
    """Return what these processes have used so far; one that ends meanwhile is left out."""
    cpu: dict[int, float] = {}
    private_kb, shared_kb, waited, turns = 0, 0, 0.0, 0
    for pid in pids:
        try:
            cpu[pid] = _cpu_seconds(pid)
            own, shared = _memory_kb(pid)
            seconds, count = _waits(pid)
        except OSError:
            continue
        waited, turns = waited + seconds, turns + count
        private_kb += own
        shared_kb = max(shared_kb, shared)  # PostgreSQL's processes share one buffer pool: count it once
    return Use(cpu=cpu, memory_mb=(private_kb + shared_kb) / 1024, waited=waited, turns=turns)


def cpu_between(before: Use, after: Use) -> float:
    """Return the CPU seconds spent between two readings, by processes that were there at both."""
    return sum(seconds - before.cpu[pid] for pid, seconds in after.cpu.items() if pid in before.cpu)


def wait_ms_between(before: Use, after: Use) -> float | None:
    """Return how long a thread that was ready to run waited for a CPU on average; None if none ran."""
    turns, seconds = after.turns - before.turns, after.waited - before.waited
    return seconds * 1000 / turns if turns > 0 and seconds >= 0 else None


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS  # utime, stime


def _memory_kb(pid: int) -> tuple[int, int]:
    """Return private and shared resident memory."""
    sizes = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _colon, value = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            sizes[name] = int(value.split()[0])
    return sizes.get("RssAnon", 0), sizes.get("RssShmem", 0)


def _waits(pid: int) -> tuple[float, int]:
    """Return seconds and turns of all threads; nothing where the kernel keeps no such count."""
    seconds, turns = 0.0, 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            _ran, waited, count = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):
            continue
        seconds, turns = seconds + int(waited) / 1e9, turns + int(count)
    return seconds, turns


def busy_seconds() -> float:
    """Return the CPU seconds the whole machine has spent working since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICKS  # user, nice, system; irq, softirq, steal: not idle, not iowait


def proportional_mb(pids: list[int]) -> float:
    """Return the resident memory of some processes, a page that several of them share counted once."""
    return sum(_kb(pid, "smaps_rollup", "Pss:") for pid in pids) / 1024


def resident_mb(pids: list[int]) -> float:
    """Return the sum of the processes' resident memory; a page that two of them share counts twice."""
    return sum(_kb(pid, "status", "VmRSS:") for pid in pids) / 1024


def ran_seconds(pids: list[int]) -> float:
    """Return the CPU seconds all threads of some processes have run, to the nanosecond (`use_of` knows hundredths)."""
    seconds = 0.0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            try:
                seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
            except (OSError, ValueError):
                continue
    return seconds


def _kb(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
