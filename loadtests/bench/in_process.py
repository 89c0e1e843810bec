"""
Calls the WSGI application without a server and prints CPU microseconds per request, by round and endpoint, as JSON.

A process of its own with SHOP_PART=web, so that it has the web's settings. Arguments: COUNT ROUNDS; the requests come
as JSON on stdin, enough for one round to warm up and all others.
"""

import io
import json
import sys
import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import get_resolver, path

from config.wsgi import HandlerWith, application

Request = dict[str, Any]


def empty(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


get_resolver().url_patterns.insert(0, path("empty", empty))
empty_application = HandlerWith(settings.API_MIDDLEWARE)  # Django's own handler, the API's middleware


def environ_of(request: Request) -> dict[str, Any]:
    body = json.dumps(request["body"]).encode() if request["body"] is not None else b""
    path_info, _mark, query = request["path"].partition("?")
    environ = {
        "REQUEST_METHOD": request["method"],
        "PATH_INFO": path_info,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "CONTENT_TYPE": "application/json" if body else "",
    }
    return environ | ({"HTTP_AUTHORIZATION": f"Bearer {request['token']}"} if request["token"] else {})


def call(handler: Any, request: Request) -> None:
    statuses: list[str] = []
    answer = handler(environ_of(request), lambda status, _headers: statuses.append(status))
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    if statuses[0][:3] not in ("200", "202"):
        sys.exit(f"{request['method']} {request['path']}: {statuses[0]} {body[:300]!r}")


def microseconds(handler: Any, requests: list[Request]) -> float:
    began = time.process_time()
    for request in requests:
        call(handler, request)
    return (time.process_time() - began) / len(requests) * 1e6


def main() -> None:
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    work: dict[str, list[Request]] = json.load(sys.stdin)
    work["empty"] = [{"method": "GET", "path": "/empty", "body": None, "token": ""}] * (count * (rounds + 1))
    found: list[dict[str, float]] = []
    for number in range(rounds + 1):
        spent = {}
        for name, requests in work.items():
            handler = empty_application if name == "empty" else application
            spent[name] = microseconds(handler, requests[number * count : (number + 1) * count])
        found.append(spent)
    json.dump(found[1:], sys.stdout)  # the first round only warms up


if __name__ == "__main__":
    main()
