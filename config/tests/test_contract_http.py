"""What every address of the shop has in common; what it refuses is in test_bad_input.py."""

import re

import pytest

from config.tests.client import Client, Contract
from config.tests.conftest import World

# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"'])
def test_spellings_of_json_are_understood(client: Client, world: World, content_type: str) -> None:
    token = world.customer().token
    assert client.post("/balance/charge", b'{"amount": 5}', token=token, Content_Type=content_type).status == 200


# --- methods and addresses ------------------------------------------------------------------------------------------


def addresses(contract: Contract) -> list[tuple[str, set[str]]]:
    """Return every address with the methods it has."""
    return [
        (re.sub(r"\{\w+\}", "1", path), {method.upper() for method in item})
        for path, item in contract.document["paths"].items()
    ]


def test_other_methods_are_refused_and_told_which_there_are(client: Client, contract: Contract) -> None:
    for path, methods in addresses(contract):
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
            if method in methods:
                continue
            refused = client.request(method, path)
            assert refused.outcome == (405, "method_not_allowed"), (method, path)
            assert set(refused.headers["Allow"].split(", ")) == allowed, (method, path)
        told = client.request("OPTIONS", path)
        assert set(told.headers["Allow"].split(", ")) == allowed, path


def test_head_is_get_without_a_body(client: Client, contract: Contract, world: World) -> None:
    customer, product_id = world.customer(), world.product()
    order = world.order(customer, {product_id: 1})
    issuance_id = world.coupon(customer, campaign_id := world.campaign())
    ids = {
        "product_id": product_id,
        "coupon_id": campaign_id,
        "order_id": order["order_id"],
        "issuance_id": issuance_id,
        "user_id": customer.user_id,
    }
    for template, item in contract.document["paths"].items():
        if "get" not in item:
            continue
        path = template.format(**ids)
        whole = client.get(path, token=customer.token)
        head = client.request("HEAD", path, token=customer.token)
        assert (whole.status, head.status, head.body) == (200, 200, b""), path
        assert head.headers["Content-Type"] == whole.headers["Content-Type"], path
        assert head.headers["Cache-Control"] == whole.headers["Cache-Control"], path
        if template not in ("/readyz", "/products/top-selling"):  # those say the time
            assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body)), path
    assert client.request("HEAD", "/nowhere").status == 404
    assert client.request("HEAD", f"/products/{2**62}").status == 404
    assert client.request("HEAD", "/orders").status == 401


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "text/html,*/*;q=0.1", "", "nonsense", "image/*"])
def test_answers_are_json_whatever_is_accepted(client: Client, world: World, accept: str) -> None:
    product_id = world.product()
    for path, media_type in (
        (f"/products/{product_id}", "application/json"),
        ("/orders", "application/problem+json"),
        ("/nowhere", "application/problem+json"),
        ("/products?format=api&size=1", "application/json"),
    ):
        answer = client.get(path, Accept=accept)
        assert answer.headers["Content-Type"] == media_type, path


# --- what stands in every answer ------------------------------------------------------------------------------------


def test_sane_request_id_is_repeated(client: Client, world: World) -> None:
    token = world.customer().token
    for sane in ("a", "5f3c-9b", "A" * 64, "trace=1/2.3:4_5+6-7"):
        for path in ("/livez", "/products?size=1", "/nowhere", "/orders", "/products?size=0", "/docs"):
            answer = client.get(path, X_Request_Id=sane)
            assert answer.headers["X-Request-Id"] == sane, path
            if answer.code:
                assert answer.json["request_id"] == sane
        assert client.get("/orders", token=token, X_Request_Id=sane).headers["X-Request-Id"] == sane


@pytest.mark.parametrize(
    "given", ["", " ", "A" * 65, "A" * 300, "a b", "a\tb", "<script>", "\u00e9", "a;b", 'a"b', "a,b"]
)
def test_other_request_ids_are_replaced(client: Client, given: str) -> None:
    for path in ("/livez", "/products?size=1", "/nowhere"):
        answers = [client.get(path, X_Request_Id=given) for _ in range(2)]
        ids = [answer.headers["X-Request-Id"] for answer in answers]
        assert all(re.fullmatch(r"[0-9a-f]{16}", made) for made in ids)
        assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-GB,ko;q=0.9", "en"),
        ("fr,de", "en"),
        ("fr,ko;q=0.5", "ko"),
        ("ko;q=0,en;q=0.1", "en"),
        ("*", "en"),
        ("nonsense;;;q=x", "en"),
        ("ko;q=0.5," * 800, "ko"),
        ("x-" * 3_900, "en"),
    ],
)
def test_texts_follow_the_language_and_codes_do_not(
    client: Client, world: World, accepted: str | None, language: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    token = world.customer().token
    for answer in (
        client.request("GET", "/nowhere", headers=headers),
        client.request("GET", "/products?size=0", headers=headers),
        client.request("POST", "/balance/charge", body={"amount": 0}, token=token, headers=headers),
        client.request("POST", "/coupons/issue", body={"coupon_id": 2**62}, token=token, headers=headers),
    ):
        assert answer.code in ("not_found", "invalid_input", "coupon_not_found")
        assert answer.headers["Content-Language"] == language
        assert answer.headers["Vary"] == "Accept-Language"
        texts = [
            answer.json["title"],
            answer.json["detail"],
            *(item["detail"] for item in answer.json.get("errors", [])),
        ]
        assert [is_korean(text) for text in texts] == [language == "ko"] * len(texts)


def is_korean(text: str) -> bool:
    return any("가" <= letter <= "힣" for letter in text)


def test_every_refusal_speaks_korean(client: Client, world: World) -> None:
    """Not only those of one request: the page that explains each says them all in English, so nothing is missing."""
    customer, campaign_id = world.customer(), world.campaign(opens_in=3_600)
    for answer in (
        client.request("PATCH", "/orders", headers={"Accept-Language": "ko"}),
        client.get("/orders", Accept_Language="ko"),
        client.get("/orders", token="x", Accept_Language="ko"),
        client.get(f"/balance/{2**62}", token=customer.token, Accept_Language="ko"),
        client.post("/coupons/issue", {"coupon_id": campaign_id}, token=customer.token, Accept_Language="ko"),
        client.post("/orders", b"{", token=customer.token, Accept_Language="ko"),
        client.post("/auth/token", {"username": "x", "password": "y"}, Accept_Language="ko"),
        client.post("/auth/signup", {"username": "x y", "password": "short"}, Accept_Language="ko"),
        client.get("/products?page=9999", Accept_Language="ko"),
        client.get("/products?cursor=x", Accept_Language="ko"),
    ):
        assert is_korean(answer.json["title"]), answer.json
        assert is_korean(answer.json["detail"]), answer.json
        assert all(is_korean(item["detail"]) for item in answer.json.get("errors", [])), answer.json


def test_nothing_tells_what_the_shop_is_made_of(client: Client) -> None:
    for path in ("/products?size=1", "/nowhere", "/orders", "/docs"):
        answer = client.get(path)
        assert answer.headers["Server"] in (None, "gunicorn")
        assert answer.headers["X-Powered-By"] is None
        assert b"Traceback" not in answer.body
        assert b"django" not in answer.body.lower()


def test_a_query_with_a_thousand_fields_is_a_bad_request(client: Client) -> None:
    answer = client.get("/readyz?" + "&" * 1_001)
    assert (answer.status, answer.json["code"]) == (400, "invalid_input")
