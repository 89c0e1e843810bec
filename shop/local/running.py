"""The whole shop, from an empty directory to `ready`: engines, migrations, demo data, web, worker, beat, metrics."""

import resource
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connections

from shop.local import accounts, deafness, demo, diagnosis, logs, parts, ports, postgres, processes, valkey, welcome
from shop.local.errors import CannotStart
from shop.local.session import DATABASE_URLS, Session
from shop.local.supervisor import Supervisor

READY_SECONDS = 120.0
OPEN_FILES = 65_536
BACKLOG = 4_096  # as config/gunicorn.py
REMOTE_SECONDS = 5.0
UNREACHABLE = 4
# Each part's share of the 15 s a stop may take in all; parts stop in this order, the reverse of their start.
GRACE_SECONDS = {"web": 5.5, "beat": 1.0, "worker": 3.5, "metrics": 0.5, "valkey": 1.5, "postgres": 2.0}


def run(session: Session, *, port: int, workers: int, seed: bool) -> None:
    """
    Run the shop until somebody stops it.

    Raises: CannotStart, with everything stopped again.
    """
    raise_open_files()
    parts.stop_left_over(session)  # an orphaned web part would still hold the port
    listener = listen(port)
    supervisor = Supervisor()
    with supervisor.running():
        try:
            with logs.step("PostgreSQL and Redis answer"):
                start_engines(session, supervisor, connections_wanted=diagnosis.connections_needed(workers=workers))
            with logs.step("migrations are applied"):
                call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
            port = listener.getsockname()[1]  # asked for 0, the system has chosen one
            start_programs(session, supervisor, listener=listener, workers=workers)
            if seed and demo.is_empty():
                with logs.step("demo data are there"):
                    demo.seed(session.services)
            connections.close_all()
            with logs.step("web, worker, beat and metrics are ready"):
                announce(session, supervisor, f"http://{ports.LOOPBACK}:{port}")
            show_doors(session)
            supervisor.tend_for_ever(deafness.Watch(supervisor.parts).look)
        finally:
            listener.close()  # from now on connections are refused, not left waiting
            session.services.withdraw_addresses()


def listen(port: int) -> socket.socket:
    """Open the web's socket; the web processes inherit it. Raises CannotStart when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ports.LOOPBACK, port))
        listener.listen(BACKLOG)  # at once: two starting shops could both bind, only one can listen
    except (OSError, OverflowError) as error:
        raise CannotStart(f"cannot listen on port {port}: {error}; choose another with --port") from error
    return listener


def raise_open_files() -> None:
    """Raise the soft limit of open files: every kept-alive client is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def start_programs(session: Session, supervisor: Supervisor, *, listener: socket.socket, workers: int) -> None:
    """Start the shop's own processes, with no counters and no heartbeat of an earlier run."""
    parts.empty_metrics(session.metrics_dir)
    deafness.forget_last_run()
    for program in parts.programs(session, listener=listener, workers=workers):
        supervisor.start(program.name, program, grace_seconds=GRACE_SECONDS[program.name])


def start_engines(session: Session, supervisor: Supervisor, *, connections_wanted: int) -> None:
    """
    Start the embedded engines side by side and wait until both answer; or wait for the servers set instead.

    Raises: CannotStart, also for a PostgreSQL with too few connections and a Redis that throws keys away.
    """
    engines: list[tuple[str, postgres.Postgres | valkey.Valkey]] = []
    if session.embeds_postgres:
        engines.append(("postgres", embedded_postgres(session, connections_wanted=connections_wanted)))
    if session.embeds_valkey:
        engines.append(("valkey", embedded_valkey(session)))
    for _, engine in engines:
        engine.prepare()
    children = [supervisor.start(name, engine, grace_seconds=GRACE_SECONDS[name]) for name, engine in engines]
    for (_, engine), child in zip(engines, children, strict=True):
        engine.wait_ready(child)
    check_postgres(connections_wanted=connections_wanted)
    check_redis()


def embedded_valkey(session: Session) -> valkey.Valkey:
    return valkey.Valkey(
        data=session.valkey_data,
        port=session.ports["valkey"],
        password=session.services.secret("VALKEY_PASSWORD"),
        account=accounts.engine_account(session.valkey_data, valkey.server_program()),
        output=subprocess.PIPE,
    )


def embedded_postgres(session: Session, *, connections_wanted: int) -> postgres.Postgres:
    return postgres.Postgres(
        data=session.postgres_data,
        port=session.ports["postgres"],
        password=session.services.secret("POSTGRES_PASSWORD"),
        account=accounts.engine_account(session.postgres_data, postgres.bin_directory()),
        max_connections=max(postgres.MAX_CONNECTIONS, diagnosis.connections_to_allow(connections_wanted)),
        output=subprocess.PIPE,
    )


def check_postgres(*, connections_wanted: int) -> None:
    """Wait for the database the settings name; refuse one that is too small. Raises CannotStart."""
    if not processes.wait_until(_postgres_answers, REMOTE_SECONDS):
        where = _without_password(settings.DATABASE_URL)
        raise CannotStart(f"PostgreSQL at {where} (DATABASE_URL) does not answer", exit_code=UNREACHABLE)
    if not (budget := diagnosis.connection_budget(connections_wanted)).ok:
        raise CannotStart(f"PostgreSQL allows too few connections: {budget.detail}; {budget.fix}")


def _postgres_answers() -> bool:
    try:
        connections["default"].ensure_connection()
    except OperationalError:
        return False
    return True


def check_redis() -> None:
    """Wait for Redis; refuse one that may throw claims and wake-ups away. Raises CannotStart."""
    client = redis.Redis.from_url(settings.BROKER_URL, socket_timeout=2, socket_connect_timeout=2)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    if not processes.wait_until(answers, REMOTE_SECONDS):
        where = _without_password(settings.REDIS_URL)
        raise CannotStart(f"Redis at {where} (REDIS_URL) does not answer", exit_code=UNREACHABLE)
    if (policy := eviction_policy(client)).startswith("allkeys"):
        raise CannotStart(f"Redis evicts any key (maxmemory-policy {policy}): set it to noeviction")


def eviction_policy(client: redis.Redis) -> str:
    """Return Redis' eviction policy, or an empty string where CONFIG is not allowed (hosted services)."""
    try:
        return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except redis.ResponseError:
        return ""


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}"


def announce(session: Session, supervisor: Supervisor, base_url: str) -> None:
    """Publish the addresses, wait until the shop says it is ready, and say so. Raises CannotStart."""
    metrics_url = f"http://{ports.LOOPBACK}:{session.ports['metrics']}/metrics"
    shared = (*DATABASE_URLS, "REDIS_URL", "SHOP_SECRET_KEY", "SHOP_JWT_KEY")
    addresses = {name: session.environment[name] for name in shared}
    session.services.put(**addresses, web_url=base_url, metrics_url=metrics_url)
    if not supervisor.tend_until(lambda: welcome.is_ready(base_url), READY_SECONDS):
        raise CannotStart(f"{base_url}/readyz is not well after {READY_SECONDS:.0f} s; its log is above", exit_code=1)
    sys.stdout.write(f"ready {base_url}\n")
    sys.stdout.flush()


def show_doors(session: Session) -> None:
    values = session.services.values
    sys.stderr.write(welcome.box(welcome.lines(values["web_url"], values["metrics_url"], values)))
    sys.stderr.flush()
