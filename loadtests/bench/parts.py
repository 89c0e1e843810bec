"""
The parts of the benchmark. Each runs the commands a person would run, against shops of the benchmark's own, and reads
their reports.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.bench import growth, overload, shops
from loadtests.bench.figures import AT_LEAST, AT_MOST, EXACTLY, Figure, Part
from loadtests.bench.runs import report_of, wrong_in
from loadtests.bench.shops import NotMeasured, Say, Shop, line_of
from loadtests.results import Run

SERVERS = ("gunicorn", "granian")
SHARES = {"load": 0.35, "peak": 0.30}  # of an empty Django view's rate
PRODUCTS, USERS = 1_000, 2_000
MEMORY_MB = 500
ORDERS_PER_SECOND, HOT_SHARE = 8_000, 0.9
RUSH = {"users": 10_000, "coupons": 1_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How to measure: `directory` keeps the reports, `quick` takes minutes and is rougher."""

    directory: Path
    quick: bool
    say: Say

    def pick(self, quick: str, full: str) -> str:
        return quick if self.quick else full


def p95(run: Run) -> float | None:
    return run.overall.p95


# --- the parts ------------------------------------------------------------------------------------------------------


def requests(setting: Setting) -> Part:
    """What a request costs, in process and on the server."""
    asked = ("bench_requests", "--json", *setting.pick("--requests 150", "").split())
    with shops.shop(setting.say) as shop:
        document = json.loads(shop.manage(*asked))
    figures = [
        Figure(
            name=f"{row['endpoint']}: CPU on the server, empty view = 1",
            measured=row["served"],
            bound=AT_MOST if row["budget"] else "",
            limit=row["budget"],
            command=line_of(asked),
        )
        for row in document["rows"]
    ]
    bars = {column: {row["endpoint"]: row[column] for row in document["rows"]} for column in ("served", "in_process")}
    return Part(name="requests", seconds=0, figures=figures, charts=bars)


def settle(setting: Setting) -> Part:
    """How fast one worker settles a backlog: uniform, and everybody wants one product."""
    asked = ("bench_settle", "--json", *setting.pick("--orders 5000 --rounds 1", "").split())
    with shops.shop(setting.say) as shop:
        document = json.loads(shop.manage(*asked))
    rates = {row["load"]: float(row["orders_per_second"]) for row in document["runs"]}
    figures = settle_figures(rates, document["hot_to_uniform"], line_of(asked))
    return Part(name="settle", seconds=0, figures=figures, charts={"settle": rates})


def settle_figures(rates: Mapping[str, float], hot_share: float, command: str) -> list[Figure]:
    """Return the settle rates, and what is left of the uniform one when all want the same, compared round by round."""
    rows = [
        Figure(name="one by one: orders settled", measured=rates["one by one"], unit="/s"),
        Figure(name="in batches", measured=rates["uniform"], unit="/s", bound=AT_LEAST, limit=ORDERS_PER_SECOND),
        Figure(name="in batches, one hot product", measured=rates["one hot product"], unit="/s"),
        Figure(name="one hot product, share of uniform", measured=hot_share, bound=AT_LEAST, limit=HOT_SHARE),
    ]
    return [replace(row, command=command) for row in rows]


def loads(setting: Setting) -> Part:
    """Both mixes at 1,500 requests a second and 1,500 customers, and the memory that takes."""
    figures, wrong = [], []
    length = setting.pick("20s", "60s")
    with shops.shop(setting.say) as shop:
        seed(shop)
        for mix in ("load", "peak"):
            asked = ("loadtest", mix, "--rate", "1500", "--vus", "1500", "--duration", length)
            run = report_of(shop, *asked[1:], directory=setting.directory / mix)
            figures += load_figures(run, mix, line_of(asked))
            wrong += wrong_in(run, mix)
            figures.append(memory_figure(shop.memory_mb(), mix, line_of(asked)))
    return Part(name="loads", seconds=0, figures=figures, wrong=wrong)


def seed(shop: Shop) -> None:
    shop.manage("seed", "--products", str(PRODUCTS), "--users", str(USERS))


def load_figures(run: Run, mix: str, command: str) -> list[Figure]:
    """Return a load's figures; how many requests were answered of those planned tells whether the rate was reached."""
    coupons = run.coupons.latency.p95 if run.coupons else None
    orders = run.orders.latency.p95 if run.orders else None
    unexpected = float(run.total.count("server_fault", "timeout", "generator"))
    planned = run.generator.planned
    rows = [
        Figure(
            name=f"{mix}: answered of {planned:,}", measured=run.requests, bound=AT_LEAST, limit=round(0.99 * planned)
        ),
        Figure(name=f"{mix}: requests never sent", measured=float(run.generator.dropped), bound=EXACTLY, limit=0),
        Figure(name=f"{mix}: unexpected answers", measured=unexpected, bound=EXACTLY, limit=0),
        Figure(name=f"{mix}: p95", measured=p95(run), unit="ms", bound=AT_MOST, limit=150),
        Figure(name=f"{mix}: orders settled, p95", measured=orders, unit="ms", bound=AT_MOST, limit=1_000),
        Figure(name=f"{mix}: coupons issued, p95", measured=coupons, unit="ms", bound=AT_MOST, limit=1_000),
        Figure(name=f"{mix}: k6's CPUs", measured=run.generator.cpus),
    ]
    return [replace(row, command=command) for row in rows if row.measured is not None]


def memory_figure(memory: Mapping[str, float], mix: str, command: str) -> Figure:
    plain = f"MB ({memory['plain']:,.0f} with shared pages counted for each process)"
    name = f"{mix}: web, worker and beat in memory afterwards"
    measured = round(memory["shared"])
    return Figure(name=name, measured=measured, unit=plain, bound=AT_MOST, limit=MEMORY_MB, command=command)


def rush(setting: Setting) -> Part:
    """Ten thousand people want one of a thousand coupons in the same second."""
    users, coupons = str(RUSH["users"]), str(RUSH["coupons"])
    numbers = [f"users={users}", f"hot_coupon_quantity={coupons}", "mix.order=0", "contention_share=1"]
    changes = [part for number in numbers for part in ("--set", number)]
    asked = ("loadtest", "rush", "--rate", users, *changes)
    with shops.shop(setting.say) as shop:
        run = report_of(shop, *asked[1:], directory=setting.directory / "rush")
    return Part(name="rush", seconds=0, figures=rush_figures(run, line_of(asked)), wrong=wrong_in(run, "rush"))


def rush_figures(run: Run, command: str) -> list[Figure]:
    issued = (
        sum(count for result, count in run.coupons.results.items() if result != "rejected") if run.coupons else None
    )
    sent = run.total
    rows = [
        Figure(name="customers who asked", measured=float(sent.requests), bound=EXACTLY, limit=run.plan["rate"]),
        Figure(name="coupons issued", measured=issued, bound=EXACTLY, limit=run.plan["hot_coupon_quantity"]),
        Figure(name="last answer after", measured=run.answered_within_s, unit="s", bound=AT_MOST, limit=5),
        Figure(name="told to come again", measured=float(sent.count("contention"))),
        Figure(
            name="unexpected answers",
            measured=float(sent.count("server_fault", "timeout", "generator")),
            bound=EXACTLY,
            limit=0,
        ),
    ]
    return [replace(row, command=command) for row in rows]


def capacity(setting: Setting) -> Part:
    """The highest rate of each mix, as a share of an empty Django view's under the same server."""
    figures, wrong, bars = [], [], {}
    rough = ("--duration", "6s", "--set", "precision=0.08", "--set", "first_rate=600") if setting.quick else ()
    for server in SERVERS[:1] if setting.quick else SERVERS:
        found: dict[str, float] = {}
        with shops.shop(setting.say, server=server) as shop:
            seed(shop)
            for mix in ("empty", "load", "peak"):
                asked = ("loadtest", "capacity", "--of", mix, *rough)
                run = report_of(shop, *asked[1:], directory=setting.directory / f"capacity-{server}-{mix}")
                found[mix] = max((probe.rate for probe in run.probes if probe.met), default=0)
                figures += capacity_figures(found, mix, server, line_of(asked))
                wrong += [] if mix == "empty" else wrong_in(run, f"capacity, {mix}, {server}")
        bars[f"capacity {server}"] = found
    return Part(name="capacity", seconds=0, figures=figures, wrong=wrong, charts=bars)


def capacity_figures(found: Mapping[str, float], mix: str, server: str, command: str) -> list[Figure]:
    """Return the rate of the mix just found, and its share of the empty view's."""
    command = f"SHOP_WEB_SERVER={server} {command}"
    rate = Figure(name=f"{server}, {mix}: highest rate", measured=float(found[mix]), unit="/s", command=command)
    if mix == "empty" or not found["empty"]:
        return [rate]
    share = found[mix] / found["empty"]
    name = f"{server}, {mix}: share of the empty view's"
    return [rate, Figure(name=name, measured=share, bound=AT_LEAST, limit=SHARES[mix], command=command)]


def growth_part(setting: Setting) -> Part:
    """A shop with a million of everything beside a small one."""
    return growth.measure(quick=setting.quick, directory=setting.directory, say=setting.say)


def overload_part(setting: Setting) -> Part:
    """Two and three times what the shop can do, with admission and without."""
    return overload.measure(quick=setting.quick, directory=setting.directory, say=setting.say)


PARTS: Mapping[str, Callable[[Setting], Part]] = {
    "requests": requests,
    "settle": settle,
    "loads": loads,
    "rush": rush,
    "capacity": capacity,
    "growth": growth_part,
    "overload": overload_part,
}


def measure(name: str, setting: Setting) -> Part:
    """Measure one part; what could not be measured is said in it, so that the others still are."""
    began = time.monotonic()
    try:
        part = PARTS[name](setting)
    except (NotMeasured, OSError, ValueError, KeyError) as error:
        part = Part(name=name, seconds=0, failed=f"{type(error).__name__}: {error}")
    return replace(part, seconds=round(time.monotonic() - began, 1))
