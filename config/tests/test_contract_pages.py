"""Health and documentation over HTTP."""

import json
import re
from typing import Any

from config.tests.client import Client, Contract
from shop.testing import wait_until


def test_process_is_alive(client: Client) -> None:
    answer = client.get("/livez")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["Cache-Control"] == "no-store"


def test_shop_is_ready_and_tells_why_if_asked(client: Client) -> None:
    wait_until(lambda: client.get("/readyz").status == 200)
    assert client.get("/readyz").json == {"status": "ok"}
    verbose = client.get("/readyz?verbose").json
    assert verbose["status"] == "ok"
    assert {name: check["ok"] for name, check in verbose["checks"].items()} == {
        "database": True,
        "redis": True,
        "workers": True,
    }


def test_document_is_served_as_it_is_stored(client: Client, contract: Contract) -> None:
    answer = client.get("/openapi.json")
    assert json.loads(answer.body)["paths"].keys() == contract.document["paths"].keys()
    assert client.get("/openapi.json", If_None_Match=answer.headers["ETag"]).status == 304


def test_interactive_page_needs_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs")
    assert page.headers.get_content_type() == "text/html"
    text = page.body.decode()
    assert "http" not in text
    linked = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert [path.rpartition("/")[2] for path in linked] == [
        "swagger-ui.css",
        "favicon-32x32.png",
        "swagger-ui-bundle.js",
        "docs.js",
    ]
    for path in [*linked, *re.findall(r'url: "([^"]+)"', text)]:
        assert path.startswith("/")
        size, media_type = fetch(client, path)
        assert size >= 200, path
        assert media_type in ("text/css", "text/javascript", "image/png", "application/json"), path


def fetch(client: Client, path: str) -> tuple[int, str]:
    """Fetch a page's asset, which is not the API's and so in no contract."""
    said = client.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    head, _blank, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    media_type = re.search(rb"(?im)^content-type: ([^;\r\n]+)", head)
    assert media_type is not None
    return len(body), media_type[1].decode()


def test_every_problem_type_is_explained(client: Client, contract: Contract) -> None:
    page = client.get("/docs/problems").body.decode()
    anchors = set(re.findall(r'<dt id="([a-z_]+)">', page))
    schemas: dict[str, Any] = contract.document["components"]["schemas"]
    types = [
        schema["properties"]["type"]["const"] for schema in schemas.values() if "request_id" in schema["properties"]
    ]
    assert len(types) > 25
    assert {kind.removeprefix("/docs/problems#") for kind in types} <= anchors
