"""The first wrong answer is named with its body, and no load follows."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loadtests import client, preflight

ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "GET /readyz": (200, {"status": "ok"}),
    "GET /products": (200, {"results": [{"id": 7}]}),
    "GET /products/top-selling": (200, {"results": []}),
    "GET /products/7": (200, {"id": 7, "price": 100}),
    "GET /balance/3": (200, {"balance": 0}),
    "POST /balance/charge": (200, {"balance": 1_000}),
    "POST /coupons/issue": (202, {"issuance_id": 5}),
    "GET /coupons/issuances/5": (200, {"status": "issued"}),
    "POST /orders": (202, {"order_id": 9}),
    "GET /orders/9": (200, {"status": "paid"}),
}


class Scripted(BaseHTTPRequestHandler):
    """A shop that answers from a table; a charge raises the balance."""

    answers: dict[str, tuple[int, dict[str, Any]]]
    asked: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        asked = f"{self.command} {self.path.partition('?')[0]}"
        status, body = self.answers[asked]
        if asked == "GET /balance/3" and "POST /balance/charge" in self.asked:
            body = {"balance": body["balance"] + 1_000}
        self.asked.append(asked)
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[tuple[preflight.Walk, type[Scripted]]]:
    handler = type("Handler", (Scripted,), {"answers": dict(ANSWERS), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield preflight.Walk(base_url=url, user_id=3, token="t", product_id=7, coupon_id=1), handler
    server.shutdown()
    server.server_close()


def test_a_sound_shop_lets_its_guide_through(shop: tuple[preflight.Walk, type[Scripted]]) -> None:
    walk, handler = shop
    assert preflight.walk(walk)[-1] == "order paid"
    assert set(handler.asked) == set(ANSWERS)


def test_the_first_wrong_answer_is_named_with_its_body(shop: tuple[preflight.Walk, type[Scripted]]) -> None:
    walk, handler = shop
    handler.answers["POST /orders"] = (400, {"code": "invalid_input", "errors": [{"pointer": "/items"}]})
    with pytest.raises(preflight.Unfit) as caught:
        preflight.walk(walk)
    assert str(caught.value).splitlines()[0] == "POST /orders: expected 202, got 400"
    assert '"code": "invalid_input"' in str(caught.value)


def test_an_order_that_is_accepted_and_never_settled_is_found(
    shop: tuple[preflight.Walk, type[Scripted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk, handler = shop
    monkeypatch.setattr(preflight, "SETTLE_SECONDS", 0.2)
    handler.answers["GET /orders/9"] = (200, {"status": "pending"})
    with pytest.raises(preflight.Unfit, match="expected paid within"):
        preflight.walk(walk)


def test_a_charge_that_does_not_arrive_is_found(shop: tuple[preflight.Walk, type[Scripted]]) -> None:
    walk, handler = shop
    handler.answers["POST /balance/charge"] = (500, {"code": "internal_error"})
    with pytest.raises(preflight.Unfit, match="POST /balance/charge: expected 200, got 500"):
        preflight.walk(walk)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.5:8000", "http://shop.example", "https://127.0.0.1:1", "ftp://127.0.0.1"]
)
def test_load_never_leaves_this_machine(url: str) -> None:
    with pytest.raises(client.NotThisMachine):
        client.loopback(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "http://127.8.8.8:8000"]
)
def test_this_machine_has_several_names(url: str) -> None:
    assert client.loopback(url)[1] == 8_000
