"""The one middleware of the API: request id, host check, time, one log line, metrics."""

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from shop import metrics

log = structlog.get_logger("shop.request")

SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}", re.ASCII)  # what of a client's X-Request-Id is repeated

BODILESS = (204, 304)  # RFC 9110, 8.6: no length, a cache would take it for that of the answer it keeps


def request_id_of(environ: Mapping[str, Any]) -> str:
    """Return the client's request id if it is a sane one, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if SANE_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"


class Observe:
    """Outermost, so that every answer has its id and is counted."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        request_id = request_id_of(request.META)
        request.request_id = request_id  # type: ignore[attr-defined]  # ours; read back with getattr
        request.get_host()  # raises DisallowedHost for a host the shop does not answer to
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        if isinstance(response, HttpResponse) and response.status_code not in BODILESS:  # else it streams
            response["Content-Length"] = str(len(response.content))
            if request.method == "HEAD":
                response.content = b""
        self._report(request, response, request_id=request_id, seconds=time.perf_counter() - began)
        return response

    def _report(self, request: HttpRequest, response: HttpResponseBase, *, request_id: str, seconds: float) -> None:
        route = request.resolver_match.route if request.resolver_match else "unknown"
        metrics.observe(method=request.method or "", route=route, status=response.status_code, seconds=seconds)
        if response.status_code >= 500 or seconds > 1.0:
            log.warning(
                "slow_or_failed",
                request_id=request_id,
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round(seconds * 1000, 1),
            )
