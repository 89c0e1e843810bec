"""
Prometheus metrics: request counts and times shared by all web processes, and gauges asked of the database.

The processes write into `SHOP_METRICS_DIR` (empty: nothing is counted); one exporter on a port of its own adds them up
and asks each app's `gauges` module. Public addresses never serve metrics (API.md "Operations").
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections
from django.utils.module_loading import autodiscover_modules

log = structlog.get_logger("shop.metrics")

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
Reading = tuple[str, str, dict[str, str], float]
gauges: list[Callable[[], Iterable[Reading]]] = []
"""Functions that return (name, help, labels, value); an app's `gauges` module adds its own with `@gauge`."""


def gauge(function: Callable[[], Iterable[Reading]]) -> Callable[[], Iterable[Reading]]:
    """Have the exporter ask `function` on every scrape."""
    gauges.append(function)
    return function


_making = threading.Lock()


@cache
def _made_requests() -> Any:
    from prometheus_client import Histogram  # noqa: PLC0415 - it opens its files when it is imported

    labels = ("method", "route", "status")
    return Histogram("shop_request_seconds", "Time to answer a request", labels, buckets=BUCKETS_SECONDS)


def _requests() -> Any:
    """Return the request histogram, made on first use: after the fork, as the multiprocess files demand."""
    with _making:  # the first requests come on several threads, and a second histogram of this name is an error
        return _made_requests()


@cache
def _series(method: str, route: str, status: int) -> Any:
    return _requests().labels(method, route, str(status))


def observe(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    if settings.METRICS_DIR:
        _series(method, route, status).observe(seconds)


class _Gauges:
    """A prometheus collector over `gauges`; one that fails is left out and named in `shop_gauge_up`."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - likewise

        up = GaugeMetricFamily("shop_gauge_up", "1 where the gauge could be read", labels=["gauge"])
        families: dict[str, Any] = {}
        for function in gauges:
            try:
                readings = list(function())
            except Exception as error:  # noqa: BLE001 - a dead database must not hide the other metrics
                log.warning("gauge_failed", gauge=function.__qualname__, error=repr(error))
                up.add_metric([_name(function)], 0)
                continue
            up.add_metric([_name(function)], 1)
            for name, about, labels, value in readings:
                family = families.setdefault(name, GaugeMetricFamily(name, about, labels=list(labels)))
                family.add_metric(list(labels.values()), value)
        yield up
        yield from families.values()


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__name__}"


def collect() -> bytes:
    """Return all metrics in Prometheus text format."""
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess  # noqa: PLC0415 - likewise

    registry = CollectorRegistry()
    if settings.METRICS_DIR:
        multiprocess.MultiProcessCollector(registry, path=settings.METRICS_DIR)  # type: ignore[no-untyped-call]  # theirs
    registry.register(_Gauges())
    close_old_connections()
    return generate_latest(registry)


class _Scrape(BaseHTTPRequestHandler):
    timeout = 5  # whoever connects and says nothing keeps the others waiting no longer

    def do_GET(self) -> None:
        body = collect()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: a scrape every few seconds is not news."""


def serve(host: str, port: int) -> None:
    """
    Serve the metrics until the process ends.

    One thread: each one more would open, and keep, connections of its own to PostgreSQL and Redis.
    """
    autodiscover_modules("gauges")
    HTTPServer((host, port), _Scrape).serve_forever()
