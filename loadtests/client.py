"""A small HTTP client for preflight and measurements: JSON in and out, this machine only."""

import http.client
import ipaddress
import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 10.0


class NotThisMachine(Exception):
    """The address is not on the loopback interface; load never leaves this machine."""


class NoAnswer(Exception):
    """The other side refused, reset or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Any:
        """The JSON document, or None if it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


def loopback(url: str) -> tuple[str, int]:
    """Return host and port of an address on this machine. Raises NotThisMachine."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if parts.scheme != "http" or not is_here:
        raise NotThisMachine(f"refused: {url} is not on this machine (http://127.0.0.1:PORT); load never leaves it")
    return host, parts.port or 80


class Client:
    """One kept-alive connection, opened anew when it was lost."""

    def __init__(self, url: str, *, token: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        host, port = loopback(url)
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, token: str = "") -> Answer:
        """Send one request, as somebody else with another `token`. Raises NoAnswer."""
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            return Answer(answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders()))
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NoAnswer(str(error) or type(error).__name__) from error

    def close(self) -> None:
        self._connection.close()
