"""What each request costs the web, as a multiple of an empty Django view."""

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from loadtests import scenarios
from loadtests.bench import request_costs
from loadtests.bench.request_costs import Cost, Place, Request
from loadtests.bench.shops import NotMeasured
from loadtests.client import NoAnswer
from loadtests.empty_server import empty_server
from loadtests.generator import NoGenerator
from loadtests.management.commands.loadtest import find_shop
from loadtests.runner import Shop
from loadtests.supplies import Supplies, supplies
from shop.commands import CommandFailed, ShopCommand

ROUNDS = 5


class Command(ShopCommand):
    help = "CPU of the web per request and endpoint, in process and on the running shop's server, beside the budgets."
    examples = "  python manage.py bench_requests\n  python manage.py bench_requests --requests 2000 --json"

    def add_options(self, parser: CommandParser) -> None:
        about = "requests per endpoint and round (default: 300)"
        parser.add_argument("--requests", type=int, default=300, metavar="N", help=about)
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> None:
        shop, count = find_shop(None), options["requests"]
        users = float(request_costs.needed_users(count, ROUNDS))
        numbers = {"users": users, "products": 500.0, "coupons": 1.0, "coupon_quantity": users}
        with supplies(scenarios.plan_for("smoke", numbers), now=timezone.now()) as stock:
            try:
                rows = self._measure(shop, stock, count)
            except (NotMeasured, NoAnswer, NoGenerator) as error:
                raise CommandFailed(str(error)) from error
        document = {"server": settings.WEB_SERVER, "requests": count, "rows": [asdict(row) for row in rows]}
        self.stdout.write(json.dumps(document) if options["json"] else as_table(rows))

    def _measure(self, shop: Shop, stock: Supplies, count: int) -> list[Cost]:
        requests = request_costs.turns(request_costs.read_tokens(stock), stock.products, stock.coupons.start)
        in_process = request_costs.in_process(requests, count=count, rounds=ROUNDS)
        with empty_server() as empty:
            places = dict.fromkeys(requests, Place(shop.base_url, shop.data_dir))
            places["empty"] = Place(empty.url, empty.data_dir)
            nothing = iter(lambda: Request(method="GET", path="/empty"), None)
            everything = {**requests, "empty": nothing}
            on_server = request_costs.served(everything, places, count=count, rounds=ROUNDS)
        return request_costs.costs(on_server, in_process)


def as_table(rows: list[Cost]) -> str:
    lines = [f"{'':<12} {'in process':>10} {'':>6} {'on the server':>14} {'':>6} {'budget':>7}"]
    lines += [
        f"{row.endpoint:<12} {row.in_process_us:>7,.0f} µs {row.in_process:>5.2f}x {row.served_us:>11,.0f} µs "
        f"{row.served:>5.2f}x {f'≤ {row.budget:g}' if row.budget else '':>7}"
        for row in rows
    ]
    return "\n".join(lines)
