"""What every address of the shop has in common: FAULTS.md B1-B48, and the pages beside the API."""

import gzip
import re
from collections.abc import Callable

import pytest

from config.tests.client import Client, Contract
from config.tests.conftest import BALANCE, World

LIMIT = 65_536
WRITES = ["/auth/signup", "/auth/token", "/auth/token/refresh", "/balance/charge", "/coupons/issue", "/orders"]


# --- bodies ---------------------------------------------------------------------------------------------------------

BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "invalid_json"),
    "null": (b"null", "invalid_input"),
    "string": (b'"x"', "invalid_input"),
    "array": (b"[]", "invalid_input"),
    "number": (b"5", "invalid_input"),
    "truncated": (b'{"amount": 5', "invalid_json"),
    "trailing text": (b'{"amount": 5} x', "invalid_json"),
    "two documents": (b'{"amount": 5}{"amount": 5}', "invalid_json"),
    "comment": (b'{"amount": 5 /* five */}', "invalid_json"),
    "single quotes": (b"{'amount': 5}", "invalid_json"),
    "leading zero": (b'{"amount": 05}', "invalid_json"),
    "trailing comma": (b'{"amount": 5,}', "invalid_json"),
    "100,000 brackets": (b"[" * 65_000, "invalid_json"),
    "2,000 deep": (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "invalid_json"),
    "repeated key": (b'{"amount": 5, "amount": 6}', "invalid_json"),
    "repeated key inside": (b'{"items": [{"quantity": 1, "quantity": 2}]}', "invalid_json"),
    "invalid UTF-8": (b'{"amount": "\xff"}', "invalid_json"),
    "UTF-16": ('{"amount": 5}'.encode("utf-16"), "invalid_json"),
    "BOM": (b"\xef\xbb\xbf" + b'{"amount": 5}', "invalid_json"),
    "lone surrogate": (b'{"amount": "\\ud800"}', "invalid_json"),
    "NUL in a name": (b'{"\\u0000": 5}', "unknown_field"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_body_is_refused_everywhere(client: Client, world: World, unchanged: Callable[[], None], case: str) -> None:
    body, code = BAD_BODIES[case]
    token = world.customer().token
    for path in WRITES:
        assert client.post(path, body, token=token).outcome == (400, code), path


def test_nul_in_a_string_is_refused(client: Client, unchanged: Callable[[], None]) -> None:
    for path, body in (
        ("/auth/signup", {"username": "kim\x00", "password": "plum-tractor-59"}),
        ("/auth/token", {"username": "kim", "password": "plum\x00"}),
        ("/auth/token/refresh", {"refresh": "\x00"}),
    ):
        refused = client.post(path, body)
        assert refused.outcome == (400, "invalid_input")
        assert refused.json["errors"][0]["code"] == "control_character"


def test_body_may_be_64_kib_and_not_a_byte_more(client: Client, world: World) -> None:
    customer = world.customer()
    body = b'{"amount": 5}'
    full = client.post("/balance/charge", body + b" " * (LIMIT - len(body)), token=customer.token)
    assert full.json["balance"] == BALANCE + 5
    for size in (LIMIT + 1, 3_000_000):
        refused = client.post("/balance/charge", body + b" " * (size - len(body)), token=customer.token)
        assert refused.outcome == (413, "body_too_large")
    assert world.balance(customer) == BALANCE + 5


def test_chunked_body_is_read_and_has_the_same_limit(client: Client, world: World) -> None:
    customer = world.customer()

    def send(body: bytes) -> bytes:
        chunks = [body[start : start + 8_000] for start in range(0, len(body), 8_000)]
        said = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        head = f"POST /balance/charge HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {customer.token}\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        return client.raw(head.encode() + said)

    body = b'{"amount": 5}'
    assert send(body).startswith(b"HTTP/1.1 200 ")
    assert send(body + b" " * (LIMIT - len(body))).startswith(b"HTTP/1.1 200 ")
    assert send(body + b" " * (LIMIT - len(body) + 1)).startswith(b"HTTP/1.1 413 ")
    assert world.balance(customer) == BALANCE + 10


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=nosuch"},
        {"Content-Type": "application/problem+json"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
    ],
)
def test_only_plain_json_is_understood(
    client: Client, world: World, unchanged: Callable[[], None], headers: dict[str, str]
) -> None:
    body = b'{"amount": 5}'
    content = gzip.compress(body) if headers.get("Content-Encoding") == "gzip" else body
    token = world.customer().token
    for path in WRITES:
        refused = client.request("POST", path, body=content, token=token, headers=headers)
        assert refused.outcome == (415, "unsupported_media_type"), path


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


def test_method_cannot_be_smuggled(client: Client, world: World) -> None:
    path = f"/products/{world.product()}"
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert client.request("GET", path, headers={name: "DELETE"}).status == 200
    assert client.get(f"{path}?_method=DELETE").status == 200


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


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/nowhere", "/products/", "/orders/", "/balance", "/balance/", "/auth", "/auth/signup/", "/docs/"),
        *("/PRODUCTS", "/products//", "//products", "/products/1/", "/.env", "/admin.php", "/api/products"),
        *("/%2e%2e/etc/passwd", "/products/..%2f..", "/%00", "/%ff", "/%C3%A9", "/%0aFAKE"),
        *("/livez/", "/readyz/", "/openapi.json/", "/metrics", "/debug", "/schema"),
    ],
)
def test_unknown_addresses_are_not_found_and_never_redirected(client: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert client.request(method, path).outcome == (404, "not_found")


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
