"""
A client of the HTTP contract: every answer it gets is checked against the OpenAPI document before a test sees it.

Undocumented statuses, bodies that do not match their schema, missing headers and 5xx fail on the spot, wherever in a
test they occur.
"""

import http.client
import json
import re
import socket
import threading
import time
from dataclasses import dataclass
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]
DOCUMENT_FILE = Path(__file__).resolve().parent.parent / "openapi.json"
TIMEOUT_SECONDS = 20
IDLE_SECONDS = 20  # the shop keeps a silent connection for 75 s (config/gunicorn.py)
FORMATS = jsonschema.FormatChecker(formats=())
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


@FORMATS.checks("date-time")
def is_utc_time(value: object) -> bool:
    """API.md "Conventions": RFC 3339 in UTC with `Z`."""
    return not isinstance(value, str) or bool(UTC_TIME.fullmatch(value))


@FORMATS.checks("uri")
def is_address(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme and urlsplit(value).netloc)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; empty for anything else."""
        return str(self.json["code"]) if self.headers.get_content_type() == "application/problem+json" else ""

    @property
    def pointers(self) -> list[str]:
        return [item["pointer"] for item in self.json["errors"]]

    @property
    def outcome(self) -> tuple[int, str]:
        """Status and, of a problem, its code: what most tests look at."""
        return self.status, self.code


class Contract:
    """The OpenAPI document as a judge of answers."""

    def __init__(self) -> None:
        text = DOCUMENT_FILE.read_text().replace('"#/components', '"urn:shop#/components')
        self.document: Json = json.loads(text)
        resource = DRAFT202012.create_resource(self.document)
        self.registry: Registry[Any] = Registry().with_resource("urn:shop", resource)
        patterns = {path: re.sub(r"\{\w+\}", "[0-9]+", path) for path in self.document["paths"]}
        self.paths = sorted(patterns.items(), key=lambda item: "{" in item[0])  # plain paths first, as the routes

    def operations_of(self, path: str) -> Json | None:
        """Return what the document says of a request's path, if it knows it."""
        return next((self.document["paths"][name] for name, shape in self.paths if re.fullmatch(shape, path)), None)

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Fail unless the document allows this answer."""
        told = f"{method} {path} -> {answer.status} {answer.body[:300]!r}"
        assert answer.headers["X-Request-Id"], f"no X-Request-Id: {told}"
        operations = self.operations_of(path)
        if method == "OPTIONS" and operations:
            assert (answer.status, answer.body) == (204, b""), told
            return
        operation = (operations or {}).get("get" if method == "HEAD" else method.lower())
        response = self._resolved(operation["responses"].get(str(answer.status))) if operation else None
        if response is None:
            response = self._general(answer, is_known=operations is not None, has_method=operation is not None)
        assert response, f"not documented: {told}"
        self._check_headers(response, answer, told)
        if method == "HEAD":
            assert answer.body == b"", told
        else:
            self._check_body(response, answer, told)

    def _general(self, answer: Answer, *, is_known: bool, has_method: bool) -> Json | None:
        """Return the answer to what no operation describes: an unknown address, method or host."""
        names = {405: "MethodNotAllowed"} if is_known and not has_method else {}
        names |= {} if is_known else {404: "PathNotFound", 400: "InvalidInput"}
        if answer.status not in names:
            return None
        schema = {"$ref": f"urn:shop#/components/schemas/{names[answer.status]}"}
        return {"headers": {}, "content": {"application/problem+json": {"schema": schema}}}

    def _resolved(self, response: Json | None) -> Json | None:
        if response is not None and "$ref" in response:
            return dict(self.registry.resolver().lookup(response["$ref"]).contents)
        return response

    def _check_headers(self, response: Json, answer: Answer, told: str) -> None:
        for name, reference in response.get("headers", {}).items():
            header = self._resolved(reference) or {}
            given = answer.headers[name]
            assert given is not None or not header.get("required"), f"no {name}: {told}"
            if given is not None and header["schema"].get("type") != "integer":
                self._validator(json.dumps(header["schema"])).validate(given)
            elif given is not None:
                assert given.isdecimal(), f"{name}: {given}: {told}"

    def _check_body(self, response: Json, answer: Answer, told: str) -> None:
        if "content" not in response:
            assert answer.body == b"", told
            return
        media_type = answer.headers.get_content_type()
        assert media_type in response["content"], f"{media_type}: {told}"
        schema = response["content"][media_type].get("schema")
        if schema and media_type.endswith("json"):
            self._validator(json.dumps(schema)).validate(json.loads(answer.body))

    @cache  # noqa: B019 - one contract per session
    def _validator(self, schema: str) -> jsonschema.Draft202012Validator:
        return jsonschema.Draft202012Validator(json.loads(schema), registry=self.registry, format_checker=FORMATS)


class Client:
    """Speaks to one running shop, over one connection per thread that stays open."""

    def __init__(self, base_url: str, contract: Contract) -> None:
        self.address = urlsplit(base_url)
        self.contract = contract
        self.seen: dict[int, int] = {}
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def get(self, path: str, *, token: str = "", **headers: str) -> Answer:
        return self.request("GET", path, token=token, headers=headers)

    def post(self, path: str, body: Any = None, *, token: str = "", key: str = "", **headers: str) -> Answer:
        """Post `body` as JSON, or just as it is if it is bytes; None sends none."""
        if key:
            headers["Idempotency-Key"] = key
        return self.request("POST", path, body=body, token=token, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        token: str = "",
        headers: dict[str, str] | None = None,
        may_be_busy: bool = False,
    ) -> Answer:
        """Send a request and return the answer, checked; underscores in header names stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self._exchange(method, path, content, sent)
        self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
        assert answer.status < 500 or may_be_busy, f"{method} {path} -> {answer.status} {answer.body[:500]!r}"
        self.contract.check(method, urlsplit(path).path, answer)
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = self._connection()
        try:
            connection.request(method, path, body, {name: text.encode("latin-1") for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (http.client.HTTPException, OSError):
            connection.close()
            raise

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's connection; a new one if the shop may have closed it meanwhile."""
        now, local = time.monotonic(), self._local
        if not hasattr(local, "connection"):
            host, port = self.address.hostname or "", self.address.port
            local.connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
            self._connections.append(local.connection)
        elif now - local.used_at > IDLE_SECONDS:
            local.connection.close()  # it opens itself again
        local.used_at = now
        connection: http.client.HTTPConnection = local.connection
        return connection

    def walk(self, path: str, *, token: str = "", direction: str = "next") -> list[list[Any]]:
        """Return the rows of every page from `path` on, following the links of one direction."""
        pages: list[list[Any]] = []
        while path:
            document = self.get(path, token=token).json
            pages.append(document["results"])
            link = urlsplit(document[direction] or "")
            path = f"{link.path}?{link.query}" if link.path else ""
        return pages

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and return whatever comes until the shop closes the connection."""
        with socket.create_connection((self.address.hostname, self.address.port or 0), timeout=TIMEOUT_SECONDS) as peer:
            peer.sendall(data)
            said = b""
            while more := peer.recv(65_536):
                said += more
        return said
