"""
What one request costs the web, as a multiple of an empty Django view: called in process, and on the real server.

In process nothing but the application is measured, so the multiple is larger than what a server sees; on the server the
CPU time of the web's processes is divided by the requests one client sent them. The budgets are DESIGN.md's ("What each
request may cost") and hold on the server. Endpoints are measured in turns, round after round, and a multiple is the
median of the rounds' own multiples: a machine may change its speed by half from one minute to the next.
"""

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from loadtests import procfs
from loadtests.bench.shops import NotMeasured
from loadtests.client import Client
from loadtests.empty_server import environment_of_a_web
from loadtests.supplies import Supplies

BUDGETS = {
    "list": 1.2,
    "top_selling": 1.2,
    "detail": 1.2,
    "balance": 2.5,
    "coupon": 3.0,
    "order": 5.0,
    "charge": 5.0,
}
POPULAR = 50  # products that are asked for again and again: the budget is that of a cached read
EXPECTED = {"coupon": 202, "order": 202}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU microseconds of one request, and both as a multiple of the empty view's."""

    endpoint: str
    in_process_us: float
    served_us: float
    in_process: float
    served: float
    budget: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    body: dict[str, object] | None = None
    token: str = ""


Turns = Mapping[str, Iterator[Request]]
Spent = Mapping[str, float]
"""What one round found: endpoint -> CPU microseconds of a request."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests are sent: a web's address, and the data directory by which its processes are found."""

    url: str
    data_dir: Path


def turns(users: list[dict[str, object]], products: range, campaign: int) -> Turns:
    """Return an endless supply of requests for each endpoint; each claim comes from another user."""
    everybody, claimers, goods = itertools.cycle(users), iter(users), itertools.cycle(products[:POPULAR])

    def token(user: dict[str, object]) -> str:
        return str(user["access"])

    def items() -> list[dict[str, int]]:
        return [{"product_id": next(goods), "quantity": 1} for _ in range(2)]

    def of(make: Callable[[], Request]) -> Iterator[Request]:
        while True:
            yield make()

    def balance() -> Request:
        user = next(everybody)
        return Request(method="GET", path=f"/balance/{user['user_id']}", token=token(user))

    def post(path: str, body: dict[str, object], user: dict[str, object]) -> Request:
        return Request(method="POST", path=path, body=body, token=token(user))

    return {
        "list": of(lambda: Request(method="GET", path="/products?size=20&page=1&sort=newest")),
        "top_selling": of(lambda: Request(method="GET", path="/products/top-selling")),
        "detail": of(lambda: Request(method="GET", path=f"/products/{next(goods)}")),
        "balance": of(balance),
        "charge": of(lambda: post("/balance/charge", {"amount": 1_000}, next(everybody))),
        "order": of(lambda: post("/orders", {"items": items()}, next(everybody))),
        "coupon": of(lambda: post("/coupons/issue", {"coupon_id": campaign}, next(claimers))),
    }


def served(requests: Turns, places: Mapping[str, Place], *, count: int, rounds: int) -> list[Spent]:
    """Return the CPU microseconds of the web's processes per request, round by round. Raises NotMeasured, NoAnswer."""
    for name, place in places.items():
        _ask(name, requests[name], place, max(10, count // 10))  # to warm up
    found: list[Spent] = []
    for number in range(rounds):
        order = list(places.items())[:: 1 if number % 2 == 0 else -1]
        found.append({name: _ask(name, requests[name], place, count) for name, place in order})
    return found


def _ask(endpoint: str, requests: Iterator[Request], place: Place, count: int) -> float:
    client = Client(place.url)
    try:
        pids = procfs.find_parts(place.data_dir)["web"]
        before = procfs.ran_seconds(pids)
        for request in itertools.islice(requests, count):
            _send(client, endpoint, request)
        return (procfs.ran_seconds(pids) - before) / count * 1e6
    finally:
        client.close()


def _send(client: Client, endpoint: str, request: Request) -> None:
    answer = client.ask(request.method, request.path, request.body, token=request.token)
    if answer.status != EXPECTED.get(endpoint, 200):
        raise NotMeasured(f"{request.method} {request.path}: {answer.status} {answer.text[:300]}")


def in_process(requests: Turns, *, count: int, rounds: int) -> list[Spent]:
    """Return the CPU microseconds per request in a web process without a server, round by round. Raises NotMeasured."""
    needed = {name: list(itertools.islice(supply, (rounds + 1) * count)) for name, supply in requests.items()}
    work = {name: [asdict(request) for request in supply] for name, supply in needed.items()}
    with TemporaryDirectory(prefix="in-process-") as directory:
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.bench.in_process", str(count), str(rounds)],
            cwd=settings.BASE_DIR,
            env=environment_of_a_web(Path(directory)),
            input=json.dumps(work),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise NotMeasured(f"in process: {done.stderr.strip()[-1_000:]}")
    return list(json.loads(done.stdout))


def costs(on_server: Sequence[Spent], in_a_process: Sequence[Spent]) -> list[Cost]:
    """Return one row per endpoint, the empty view first: medians of the rounds."""
    return [
        Cost(
            endpoint=name,
            in_process_us=round(_median(in_a_process, name), 1),
            served_us=round(_median(on_server, name), 1),
            in_process=round(_median_multiple(in_a_process, name), 2),
            served=round(_median_multiple(on_server, name), 2),
            budget=BUDGETS.get(name),
        )
        for name in ("empty", *BUDGETS)
    ]


def _median(rounds: Sequence[Spent], name: str) -> float:
    return statistics.median(spent[name] for spent in rounds)


def _median_multiple(rounds: Sequence[Spent], name: str) -> float:
    return statistics.median(spent[name] / spent["empty"] for spent in rounds)


def needed_users(count: int, rounds: int) -> int:
    """Return how many users have enough claims for both measurements: one each."""
    return (rounds + 1) * count + rounds * count + max(10, count // 10)


def read_tokens(supplies: Supplies) -> list[dict[str, object]]:
    return list(json.loads(supplies.tokens.read_text()))
