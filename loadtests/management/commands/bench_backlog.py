"""How fast the running shop's own workers settle a backlog."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from loadtests.bench import backlog
from loadtests.bench.shops import NotMeasured
from loadtests.generator import NoGenerator
from loadtests.management.commands.loadtest import find_shop
from shop.commands import CommandFailed, ShopCommand


class Command(ShopCommand):
    help = "Holds the running shop's workers, sends orders over HTTP, lets the workers go and times them."
    examples = "  python manage.py bench_backlog --orders 8000"

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--orders", type=int, default=8_000, metavar="N", help="size of the backlog (default: 8000)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, **options: Any) -> None:
        shop = find_shop(None)
        with TemporaryDirectory(prefix="backlog-") as directory:
            try:
                found = backlog.settle(options["orders"], shop=shop, directory=Path(directory), now=timezone.now())
            except (NotMeasured, NoGenerator) as error:
                raise CommandFailed(str(error)) from error
        rate = round(found.orders_per_second)
        document = {"orders": found.orders, "seconds": round(found.seconds, 3), "orders_per_second": rate}
        text = f"{found.orders:,} orders settled in {found.seconds:.2f} s: {rate:,} a second"
        self.stdout.write(json.dumps(document) if options["json"] else text)
