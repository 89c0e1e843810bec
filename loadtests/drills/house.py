"""
The shop under drill: `manage.py up` on a data directory and ports of its own, with stock, money and tokens in it.

Two kinds: *embedded*, where `up` starts and restarts PostgreSQL and Redis too, and *outside*, where they are servers of
somebody else behind proxies (loadtests.drills.engines). One house serves several drills; each has customers and
campaigns of its own.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from loadtests.client import Client, NoAnswer
from loadtests.drills import disk
from loadtests.drills.background import Background
from loadtests.drills.engines import Engine, own_postgres, own_valkey
from loadtests.drills.errors import CannotDrill
from loadtests.drills.traffic import Cast
from shop.local import ports, processes

ROOT = Path(__file__).resolve().parent.parent.parent
SHIMS = Path(__file__).with_name("shims")
READY_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 90.0, 20.0, 90.0
FOREIGN = ("SHOP_", "PROMETHEUS_", "DJANGO_", "PYTEST_", "DRILL_")
CUSTOMERS, PRODUCTS = 40, 30
CAMPAIGNS = (25, 5_000)  # places: one campaign that sells out, one that does not
PLENTY = 200_000_000  # won in each wallet and pieces of each product: no order of a drill fails for want of either
OUTSIDE_CONNECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a house is built. `without` names a guard that the shims take away: a negative control."""

    is_outside: bool = False
    on_small_disk: bool = False
    without: str = ""


class House:
    """A running shop. `directory` holds its data and logs; `serves` is how many drills it has customers for."""

    def __init__(self, plan: Plan, directory: Path, background: Background, *, serves: int) -> None:
        self.plan, self.directory, self.background, self.serves = plan, directory, background, serves
        self.data_dir = directory / "shop"
        self.log, self._said = directory / "up.log", directory / "up.out"
        self._disk = directory / "disk"
        self.postgres: Engine | None = None
        self.valkey: Engine | None = None
        self.base_url = f"http://127.0.0.1:{ports.free_port()}"
        self._child: processes.Child | None = None
        self._served = 0
        self._users, self._products, self._campaigns = range(0), list[int](), list[list[int]]()
        self._tokens: dict[int, str] = {}

    # --- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Bring the shop up and fill it. Raises CannotDrill, CannotStart, NotPossible."""
        self.directory.chmod(0o755)  # the engines' account must pass
        if self.plan.is_outside:
            self._start_engines()
        port = self.base_url.rpartition(":")[2]
        with self.log.open("ab") as errors, self._said.open("wb") as out:
            self._child = processes.spawn(
                [sys.executable, "manage.py", "up", "--no-seed", f"--port={port}", f"--data-dir={self.data_dir}"],
                cwd=ROOT,
                env=self._environment(),
                output=out,
                errors=errors,
            )
        child = self._child
        processes.wait_until(lambda: processes.has_ended(child) or self._said.stat().st_size > 0, READY_SECONDS)
        if not self._said.read_text().startswith("ready "):
            raise CannotDrill(f"the shop of the drill did not start; its log is {self.log}")
        self._fill()

    def _start_engines(self) -> None:
        if self.plan.on_small_disk:
            disk.mount(self._disk)
        data = (self._disk if self.plan.on_small_disk else self.directory) / "postgres"
        log = self.directory / "postgres.log"  # never on the small disk: it could not say that it is full
        self.postgres = own_postgres(data, log, self.background, max_connections=OUTSIDE_CONNECTIONS)
        self.valkey = own_valkey(self.directory / "valkey", self.directory / "valkey.log", self.background)
        self.postgres.start()
        self.valkey.start()

    def _environment(self) -> dict[str, str]:
        names = ("DATABASE_URL", "REDIS_URL")
        environment = {n: v for n, v in os.environ.items() if n not in names and not n.startswith(FOREIGN)}
        if self.postgres and self.valkey:
            environment["DATABASE_URL"] = self.postgres.proxied_url
            environment["REDIS_URL"] = self.valkey.proxied_url
        if self.plan.without:
            environment |= {"PYTHONPATH": str(SHIMS), "DRILL_WITHOUT": self.plan.without}
        return environment

    def close(self) -> None:
        """Stop everything; the data stay until somebody removes the directory."""
        if self._child is not None:
            processes.stop(self._child, (signal.SIGTERM, STOP_SECONDS))
        for engine in (self.postgres, self.valkey):
            if engine is not None:
                engine.close()
        disk.unmount(self._disk)

    @property
    def is_well(self) -> bool:
        """Say whether the shop is sound enough for another drill."""
        if self._child is None or processes.has_ended(self._child) or self._served >= self.serves:
            return False
        client = Client(self.base_url, timeout_seconds=3.0)
        try:
            return client.get("/readyz").status == 200
        except NoAnswer:
            return False
        finally:
            client.close()

    # --- addresses and processes ------------------------------------------------------------------------------------

    @property
    def services(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "services.json").read_text()))

    @property
    def logs(self) -> list[Path]:
        """The supervisor's log with every part's lines in it, and those of engines it does not run."""
        return [self.log, *(engine.log for engine in (self.postgres, self.valkey) if engine is not None)]

    @property
    def metrics_url(self) -> str:
        return str(self.services["metrics_url"])

    @property
    def database_url(self) -> str:
        """The server itself, past the proxy."""
        if self.postgres:
            return self.postgres.url
        services = self.services  # the owner's address where the shop has roles: a drill pulls at everything
        return str(services.get("SHOP_OWNER_DATABASE_URL") or services["DATABASE_URL"])

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Open a connection of the drill's own."""
        return psycopg.connect(
            self.database_url, autocommit=True, connect_timeout=2, application_name="drill", **options
        )

    def answers(self) -> bool:
        """Say whether PostgreSQL answers."""
        try:
            with self.connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def redis(self, database: int) -> redis.Redis:
        """Return a client past the proxy: 0 the broker's database, 1 the gate's, 2 the cache's."""
        url = str(self.valkey.url if self.valkey else self.services["REDIS_URL"])
        return redis.Redis.from_url(f"{url.rpartition('/')[0]}/{database}", socket_timeout=2, socket_connect_timeout=2)

    def part(self, name: str) -> list[int]:
        """Return the processes of a part: `web`, `worker`, `beat`, `metrics`."""
        return processes.with_environment(SHOP_PART=name, SHOP_DATA_DIR=str(self.data_dir))

    def main_of(self, name: str) -> int:
        """Return the process of a part that the supervisor started."""
        supervisor = self._child.pid if self._child else 0
        return next(pid for pid in self.part(name) if parent_of(pid) == supervisor)

    def children_of(self, name: str) -> list[int]:
        """Return what the part's main process has started."""
        main = self.main_of(name)
        return sorted(pid for pid in self.part(name) if pid != main)

    def engine_pids(self, name: str) -> list[int]:
        """Return the processes of an embedded engine: `postgres` or `valkey-server`."""
        return processes.working_in(self.data_dir / name.partition("-")[0], name)

    def environment_of_a_part(self, name: str) -> dict[str, str]:
        """Return the environment of a process that joins this shop as another web, worker or beat."""
        services = self.services
        addresses = {key: services[key] for key in ("DATABASE_URL", "REDIS_URL", "SHOP_SECRET_KEY", "SHOP_JWT_KEY")}
        return self._environment() | addresses | {"SHOP_DATA_DIR": str(self.data_dir), "SHOP_PART": name}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the shop to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", arguments[0], f"--data-dir={self.data_dir}", *arguments[1:]],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    # --- what is in it ----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        tokens = self.directory / "tokens.json"
        people = ("--users", str(CUSTOMERS * self.serves), "--balance", str(PLENTY), "--tokens", str(tokens))
        goods = ("--products", str(PRODUCTS), "--stock", str(PLENTY))
        for places, others in zip(CAMPAIGNS, ((*people, *goods), ()), strict=True):
            # Half of the seeded campaigns ask for a lowest amount; orders of a drill must not fail for that.
            self._seed("--coupons", str(4 * self.serves + 4), "--coupon-quantity", str(places), *others)
        rows = json.loads(tokens.read_text())
        tokens.unlink()
        self._tokens = {row["user_id"]: row["access"] for row in rows}
        self._users = range(min(self._tokens), max(self._tokens) + 1)
        with self.connect() as connection:
            self._products = [key for (key,) in connection.execute("SELECT id FROM catalog_product ORDER BY id")]
            self._campaigns = [_campaigns(connection, places) for places in CAMPAIGNS]

    def _seed(self, *options: str) -> None:
        done = self.manage("seed", *options)
        if done.returncode:
            raise CannotDrill(f"seeding failed: {done.stderr.strip()[-500:]}")

    def next_cast(self) -> Cast:
        """Return customers and campaigns nobody has used yet."""
        start = self._served * CUSTOMERS
        campaigns = [own[self._served] for own in self._campaigns]
        self._served += 1
        return Cast(
            users=self._users[start : start + CUSTOMERS],
            products=self._products,
            campaigns=campaigns,
            tokens=self._tokens,
        )


def _campaigns(connection: psycopg.Connection[Any], places: int) -> list[int]:
    asked = "SELECT id FROM coupons_campaign WHERE total_quantity = %s AND min_order_amount = 0 ORDER BY id"
    return [key for (key,) in connection.execute(asked, [places])]


def parent_of(pid: int) -> int:
    """Return a process's parent, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
