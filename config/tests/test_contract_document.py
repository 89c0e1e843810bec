"""The OpenAPI document is valid, complete, and what the code says."""

import json
from email.message import Message
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_spec_validator import validate

from config.tests.client import Answer, Contract
from shop import openapi
from shop.commands import Exit
from shop.management.commands.openapi import as_text
from shop.testing_shop import run_manage

FILE = Path(__file__).resolve().parent.parent / "openapi.json"
NOT_FROM_THE_API = {
    *("StockTooLow", "TermsContradict", "TermsFrozen", "QuantityTooLow"),  # of the admin
    "InsufficientBalance",  # of the admin; of an order it is a failure
    "MethodNotAllowed",  # of no operation; the document's description has it
}


@pytest.fixture(scope="module")
def document() -> Any:
    return openapi.build()


def routes(patterns: list[Any], prefix: str = "") -> dict[str, URLPattern]:
    """Return every route of the shop except the admin's, as paths of an OpenAPI document."""
    found: dict[str, URLPattern] = {}
    for item in patterns:
        path = prefix + str(item.pattern)
        if isinstance(item, URLResolver):
            found |= {} if path == "admin/" else routes(item.url_patterns, path)
        elif path != "admin":
            found["/" + path.replace("<id64:", "{").replace("<digits:", "{").replace(">", "}")] = item
    return found


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        inner = [references(value) for value in node.values()]
        return set().union({node["$ref"]} if isinstance(node.get("$ref"), str) else set(), *inner)
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_document_is_valid(document: Any) -> None:
    validate(document)


def test_file_is_what_the_code_says(document: Any) -> None:
    assert FILE.read_bytes() == as_text(document)


def test_document_has_every_route_and_method_and_no_other(document: Any) -> None:
    served = {
        path: set(route.callback.view_class().allowed_methods) - {"HEAD", "OPTIONS"}
        if hasattr(route.callback, "view_class")
        else {"GET"}
        for path, route in routes(get_resolver().url_patterns).items()
    }
    assert {path: {method.upper() for method in item} for path, item in document["paths"].items()} == served


def test_every_reference_leads_somewhere(document: Any) -> None:
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_refusal_is_in_the_document_and_the_apis_are_in_an_operation(document: Any) -> None:
    kinds = {kind.__name__: kind.code for kind in openapi.all_refusals()}
    schemas = document["components"]["schemas"]
    assert {name: schemas[name]["properties"]["code"]["const"] for name in kinds} == kinds
    used = references(document["paths"]) | references(document["components"]["responses"])
    assert {name for name in kinds if f"#/components/schemas/{name}" not in used} == NOT_FROM_THE_API


def test_every_operation_says_what_an_answer_needs(document: Any) -> None:
    names = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            names.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["tags"], path
            assert operation["security"] in ([], [{"bearer": []}]), path
            assert ("401" in operation["responses"]) == bool(operation["security"]) or path.startswith("/auth/"), path
            assert {"400", "500"} <= operation["responses"].keys(), (path, method)
    assert len(set(names)) == len(names)


def test_keys_are_taken_by_every_post_that_changes_something(document: Any) -> None:
    key = {"$ref": "#/components/parameters/Idempotency-Key"}
    taking = {path for path, item in document["paths"].items() if key in item.get("post", {}).get("parameters", [])}
    assert taking == {"/balance/charge", "/coupons/issue", "/orders", "/orders/{order_id}/cancel"}


def test_check_tells_another_document(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    missing = run_manage("openapi", "--check", "--file", str(file), data_dir=tmp_path)
    assert missing.returncode == Exit.VIOLATIONS
    assert not file.exists()
    assert run_manage("openapi", "--file", str(file), data_dir=tmp_path).returncode == Exit.OK
    assert run_manage("openapi", "--check", "--file", str(file), data_dir=tmp_path).returncode == Exit.OK
    changed = json.loads(file.read_text())
    del changed["paths"]["/livez"]
    file.write_text(json.dumps(changed))
    assert run_manage("openapi", "--check", "--file", str(file), data_dir=tmp_path).returncode == Exit.VIOLATIONS


def test_address_without_a_description_cannot_be_built(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of all of the above: a route that nobody described fails the build."""
    (forgotten,) = [key for key in openapi.OPERATIONS if openapi.OPERATIONS[key].name == "show_order"]
    monkeypatch.delitem(openapi.OPERATIONS, forgotten)
    with pytest.raises(openapi.BadDocument):
        openapi.build()


def answer_of(status: int, body: Any, **headers: str) -> Answer:
    message = Message()
    given = {"X-Request-Id": "1", "Cache-Control": "private, no-store", "Content-Type": "application/json"} | headers
    for name, text in given.items():
        message[name] = text
    return Answer(status, message, json.dumps(body).encode())


WALLET = {"user_id": 1, "balance": 5, "currency": "KRW", "updated_at": "2026-01-01T00:00:00Z"}


def test_contract_accepts_what_is_documented() -> None:
    Contract().check("GET", "/balance/1", answer_of(200, WALLET))


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(201, WALLET),
        answer_of(200, WALLET | {"email": "kim@example.org"}),
        answer_of(200, {name: WALLET[name] for name in ("user_id", "balance", "currency")}),
        answer_of(200, WALLET | {"balance": 5.5}),
        answer_of(200, WALLET | {"balance": -5}),
        answer_of(200, WALLET | {"updated_at": "2026-01-01T09:00:00+09:00"}),
        answer_of(200, WALLET, **{"Content-Type": "text/html"}),
        answer_of(200, WALLET, **{"X-Request-Id": ""}),
        answer_of(409, {"code": "coupon_closed"}, **{"Content-Type": "application/problem+json"}),
    ],
)
def test_contract_refuses_everything_else(answer: Answer) -> None:
    """The twin of every test that goes through the client: it can fail."""
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        Contract().check("GET", "/balance/1", answer)
