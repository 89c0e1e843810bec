"""A small helping of `make fuzz` for every run of the tests, and proof that it can find something."""

from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from config.tests import log_lines
from config.tests.client import Client, Contract
from config.tests.conftest import World
from config.tests.fuzz import __main__ as fuzz
from config.tests.fuzz.hooks import is_unstated
from config.tests.fuzz.running import Persona, Tally, run

SEED, EXAMPLES = 1, 6


def test_what_the_document_describes_is_what_the_shop_does(world: World, client: Client, contract: Contract) -> None:
    customer = world.customer()
    for _ in range(3):
        assert world.product() + world.campaign()
    tally = run(
        world.shop.base_url, Persona("customer", customer.token, customer.user_id), examples=EXAMPLES, seed=SEED
    )
    assert tally.findings == []
    assert tally.total >= 300
    described = {f"{method.upper()} {path}" for path, item in contract.document["paths"].items() for method in item}
    assert {operation for operation, _phase in tally.cases} == described
    accepted = {operation for (operation, status), _count in tally.statuses.items() if status in (200, 201, 202)}
    assert accepted >= {"POST /balance/charge", "POST /orders", "POST /auth/signup"}
    assert max(status for _operation, status in tally.statuses) < 500
    world.assert_settled()
    world.assert_audit_clean()
    assert log_lines.faults(world.shop.log.read_text(errors="replace")) == []


class Careless(BaseHTTPRequestHandler):
    """A shop that greets everybody, whatever they say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"welcome": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_answers_that_are_not_as_described_are_findings() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        base_url = f"http://127.0.0.1:{server.server_port}"
        tally = run(base_url, Persona("stranger"), examples=1, seed=SEED, only=("/orders/{order_id}",))
        server.shutdown()
        thread.join()
    (finding,) = tally.findings
    for code in ("ST108", "ST107", "ST201", "ST401"):  # another schema, no headers, bad input taken, no token needed
        assert f"- {code} " in finding, finding


def test_shop_that_cannot_be_reached_is_a_finding() -> None:
    assert run("http://127.0.0.1:1", Persona("stranger"), examples=1, seed=SEED, only=("/livez",)).findings


def test_too_few_cases_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Tally(Counter({("GET /livez", "fuzzing"): 7}))
    monkeypatch.setattr(fuzz, "run", lambda *_, **__: sent)
    shop: Any = SimpleNamespace(base_url="http://127.0.0.1:1")
    assert fuzz.fuzz(shop, [Persona("stranger")], cases=7, seed=SEED).findings == []
    assert fuzz.fuzz(shop, [Persona("stranger")], cases=8, seed=SEED).findings == ["only 7 of 8 cases were sent"]


@pytest.mark.parametrize(
    ("codes", "body", "expected"),
    [
        (["control_character"], None, True),
        (["empty_range"], None, True),
        (["not_an_integer"], {"items": [{"quantity": 1.0}]}, True),
        (["not_an_integer"], {"items": [{"quantity": 1}]}, False),
        (["control_character", "out_of_range"], None, False),
        (["required"], {}, False),
        ([], None, False),
    ],
)
def test_refusal_of_a_good_looking_request_needs_a_reason(codes: list[str], body: object, expected: bool) -> None:
    problem = {"code": "invalid_input", "errors": [{"code": code} for code in codes]}
    assert is_unstated(problem, body) is expected
