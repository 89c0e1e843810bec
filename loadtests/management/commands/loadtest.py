"""`manage.py loadtest`: k6 against the running shop, with a report that cannot mislead."""

import json
import signal
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser, OutputWrapper
from django.utils import timezone

from loadtests import capacity, client, compare, reports, results, runner, scenarios
from loadtests.empty_server import empty_server
from loadtests.generator import NoGenerator
from loadtests.outcomes import UnknownSummary
from loadtests.preflight import Unfit
from loadtests.progress import LiveLine
from loadtests.results import Run
from loadtests.supplies import supplies
from loadtests.texts import say
from shop.commands import CommandFailed, Exit, ShopCommand, no_shop

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Return `90`, `90s`, `5m` or `1h` in seconds. Raises ArgumentTypeError."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        return float(number) * UNITS[unit]
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time like 90s, 5m or 1h") from error


def change(text: str) -> tuple[str, float]:
    """Return the parts of NAME=NUMBER. Raises ArgumentTypeError."""
    name, _equals, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not NAME=NUMBER") from error


class Command(ShopCommand):
    help = "Loads the running shop with k6, waits until all is settled, audits and reports; 0 pass, 3 fail or invalid."
    examples = """
  python manage.py loadtest smoke
  python manage.py loadtest load --rate 400 --duration 2m --report reports/today
  python manage.py loadtest peak --set users=10000 --set mix.order=20 --set p95_ms=200
  python manage.py loadtest capacity --of peak                       the highest rate that meets the objectives
  python manage.py loadtest compare var/loadtests/A var/loadtests/B  two runs side by side
"""

    def add_options(self, parser: CommandParser) -> None:
        add = parser.add_argument
        names = scenarios.names()
        about = f"{', '.join(names)}; or compare, followed by two reports"
        add("name", choices=[*names, "compare"], metavar="NAME", help=about)
        add("runs", nargs="*", type=Path, metavar="REPORT", help="two report directories (compare)")
        add("--rate", type=float, metavar="N", help="requests a second at the height of the run")
        add("--vus", type=float, metavar="N", help="customers k6 may have waiting for an answer at once")
        add("--duration", type=seconds, metavar="TIME", help="90s, 5m, 1h")
        any_number = "any number of loadtests/k6/scenarios.json: users=1000, mix.order=20, p95_ms=200"
        add("--set", type=change, action="append", default=[], metavar="NAME=NUMBER", help=any_number)
        of = "capacity: whose mix, supplies and objectives; `empty` asks an empty Django view (default: load)"
        add("--of", choices=[name for name in names if name != "capacity"], default="", metavar="NAME", help=of)
        add("--url", help="the shop, on this machine (default: the one `up` started)")
        add(
            "--report",
            type=Path,
            metavar="DIR",
            help="where the report goes (default: loadtests/ in the data directory)",
        )

    def run(self, **options: Any) -> int:
        if options["name"] == "compare":
            return self._compare(options["runs"], options["report"])
        if options["runs"]:
            raise CommandFailed("only compare takes reports", exit_code=Exit.USAGE)
        run = self._measure(options)
        return Exit.OK if run.verdict and run.verdict.word == "PASS" else Exit.VIOLATIONS

    def _measure(self, options: dict[str, Any]) -> Run:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop k6, remove the tokens
        plan, shop = plan_of(options), find_shop(options["url"])
        now = timezone.now()
        directory = options["report"] or settings.DATA_DIR / "loadtests" / f"{plan.scenario}-{now:%Y%m%d-%H%M%S}"
        directory.mkdir(parents=True, exist_ok=True)
        line = LiveLine(terminal(self.stderr))
        line.show("seeding users, products and coupons")
        work = capacity.search if plan.scenario == "capacity" else runner.measure
        with supplies(plan, now=now) as stock, asked(plan, shop) as target:
            try:
                if target is shop:
                    runner.check(shop, stock, line)
                run = work(plan, shop=target, supplies=stock, directory=directory, line=line)
            except Unfit as error:
                message = f"preflight: the load was not started\n{error}"
                raise CommandFailed(message, exit_code=Exit.VIOLATIONS) from error
            except (NoGenerator, UnknownSummary) as error:
                raise CommandFailed(str(error)) from error
        files = reports.write(run, directory)
        self._tell(run, files)
        return run

    def _tell(self, run: Run, files: list[Path]) -> None:
        if run.verdict:
            self.stdout.write(run.verdict.word)
            for reason in run.verdict.reasons:
                self.stdout.write(f"  {say(reason, 'en')}")
        self.stdout.write(f"report: {files[0]}")

    def _compare(self, paths: list[Path], directory: Path | None) -> int:
        if len(paths) != 2:
            raise CommandFailed("compare needs two reports: loadtest compare A B", exit_code=Exit.USAGE)
        try:
            first, second = (results.read(path) for path in paths)
        except results.Unreadable as error:
            raise CommandFailed(str(error), exit_code=Exit.USAGE) from error
        self.stdout.write(compare.as_text(first, second))
        if directory:
            self.stdout.write(f"report: {compare.write(first, second, directory)[0]}")
        return Exit.OK


@contextmanager
def asked(plan: scenarios.Plan, shop: runner.Shop) -> Iterator[runner.Shop]:
    """Yield what is asked: the shop, or an empty view that is served beside it for as long as the run takes."""
    if "empty" not in plan.mix:
        yield shop
        return
    with empty_server() as empty:
        yield replace(shop, base_url=empty.url, metrics_url="", web_dir=empty.data_dir)


def terminal(stderr: OutputWrapper) -> Any:
    """Return the stream under Django's wrapper: the live line ends no line."""
    return stderr._out


def plan_of(options: dict[str, Any]) -> scenarios.Plan:
    """Return the plan the options ask for. Raises CommandFailed."""
    named = {"rate": options["rate"], "vus": options["vus"], "duration_s": options["duration"]}
    overrides = {name: value for name, value in named.items() if value is not None} | dict(options["set"])
    if options["of"] and options["name"] != "capacity":
        raise CommandFailed("only capacity takes --of", exit_code=Exit.USAGE)
    try:
        return scenarios.plan_for(options["name"], overrides, like=options["of"])
    except scenarios.BadPlan as error:
        raise CommandFailed(str(error), exit_code=Exit.USAGE) from error


def find_shop(url: str | None) -> runner.Shop:
    """Return the shop under test. Raises CommandFailed: nothing runs, or it is not on this machine."""
    try:
        services = json.loads(settings.SERVICES_FILE.read_text())
    except (OSError, ValueError):
        services = {}
    base_url = (url or services.get("web_url") or "").rstrip("/")
    if not base_url:
        raise CommandFailed(no_shop(), exit_code=Exit.UNREACHABLE)
    try:
        client.loopback(base_url)
    except client.NotThisMachine as error:
        raise CommandFailed(str(error), exit_code=Exit.REFUSED) from error
    return runner.Shop(base_url=base_url, metrics_url=services.get("metrics_url", ""), data_dir=settings.DATA_DIR)
