"""`manage.py metrics`: the Prometheus exporter, on a port of its own that is never the public one."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from shop import metrics
from shop.commands import ShopCommand
from shop.local.ports import LOOPBACK, free_port


class Command(ShopCommand):
    help = "Serves the metrics of all processes that share SHOP_METRICS_DIR; `up` runs it as one of the parts."
    examples = "  manage.py metrics --host 0.0.0.0 --port 9100"

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, help="default: SHOP_METRICS_PORT, or a free one")

    def run(self, **options: Any) -> int | None:
        port = options["port"] or settings.METRICS_PORT or free_port()
        self.stderr.write(f"metrics on http://{options['host']}:{port}/metrics")
        metrics.serve(options["host"], port)
        return None
