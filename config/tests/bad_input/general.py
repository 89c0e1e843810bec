"""B1-B48: any POST, methods, headers, addresses."""

import gzip

from config.tests.bad_input.rows import CLOSE, LINE, Request, Row, get, post, raw

LIMIT = 65_536
CHARGE, GOOD = "/balance/charge", b'{"amount": 5}'
CANCEL = "/orders/{order}/cancel"
WRITES = ("/auth/signup", "/auth/token", "/auth/token/refresh", CHARGE, "/coupons/issue", "/orders", CANCEL)


def everywhere(*bodies: bytes, paths: tuple[str, ...] = WRITES, **headers: str) -> tuple[Request, ...]:
    """Return a POST of each body to every address that takes one."""
    return tuple(post(path, body, **headers) for body in bodies for path in paths)


def chunked(body: bytes) -> bytes:
    """Return a charge whose body comes in chunks and never says how long it is."""
    chunks = [body[start : start + 8_000] for start in range(0, len(body), 8_000)]
    said = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = b"POST /balance/charge HTTP/1.1\r\n" + LINE + b"Authorization: Bearer {token}\r\n"
    return head + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n" + CLOSE + said


def padded(size: int) -> bytes:
    """Return a good charge of exactly so many bytes."""
    return GOOD + b" " * (size - len(GOOD))


JSON_FAULTS: dict[int, tuple[str, tuple[bytes, ...]]] = {
    6: ("truncated", (b'{"amount": 5', b'{"amount": ', b'{"amount": "')),
    7: ("trailing text", (b'{"amount": 5} x', GOOD + GOOD)),
    8: ("comment", (b'{"amount": 5 /* five */}', b'{"amount": 5} // five')),
    9: ("single quotes", (b"{'amount': 5}",)),
    10: ("leading zero", (b'{"amount": 05}', b'{"amount": 5,}', b'{"amount": +5}', b'{"amount": 0x5}')),
    11: ("100,000 brackets, as many as fit", (b"[" * 65_000,)),
    12: ("2,000 deep", (b'{"a":' * 2_000 + b"1" + b"}" * 2_000,)),
    13: (
        "repeated key",
        (b'{"amount": 5, "amount": 6}', b'{"items": [{"quantity": 1, "quantity": 2}]}', b'[{"a": 1, "a": 1}]'),
    ),
    14: ("invalid UTF-8", (b'{"amount": "\xff"}', b'{"\xff": 5}')),
    15: ("UTF-16", ('{"amount": 5}'.encode("utf-16"),)),
    16: ("byte order mark", (b"\xef\xbb\xbf" + GOOD,)),
    18: ("half a surrogate pair", (b'{"amount": "\\ud800"}',)),
}
WRONG_TOP_LEVELS = {2: b"null", 3: b'"x"', 4: b"[]", 5: b"5"}
NUL_STRINGS = (
    post("/auth/signup", {"username": "kim\x00", "password": "plum-tractor-59"}),
    post("/auth/token", {"username": "kim", "password": "plum\x00"}),
    post("/auth/token/refresh", {"refresh": "\x00"}),
    post(CHARGE, b'{"amount": "\\u0000"}'),
    post("/orders", b'{"items": "\\u0000"}'),
)
BODIES = (
    Row(number=1, what="empty body", requests=everywhere(b"", paths=WRITES[:-1]), status=400, code="invalid_json"),
    *(
        Row(number=number, what=f"top level {body!r}", requests=everywhere(body), status=400, code="invalid_input")
        for number, body in WRONG_TOP_LEVELS.items()
    ),
    *(
        Row(number=number, what=what, requests=everywhere(*bodies), status=400, code="invalid_json")
        for number, (what, bodies) in JSON_FAULTS.items()
    ),
    Row(number=17, what="NUL in a string", requests=NUL_STRINGS, status=400, code="invalid_input"),
    Row(
        number=19,
        what="64 KiB exactly",
        requests=(post(CHARGE, padded(LIMIT)), raw(chunked(padded(LIMIT)))),
        status=200,
        charged=10,
    ),
    Row(number=20, what="a byte more", requests=everywhere(padded(LIMIT + 1)), status=413, code="body_too_large"),
    Row(number=21, what="3 MB", requests=everywhere(padded(3_000_000)), status=413, code="body_too_large"),
    Row(
        number=22,
        what="chunked beyond it",
        requests=tuple(raw(chunked(padded(LIMIT + more))) for more in (1, 3_000_000)),
        status=413,
        code="body_too_large",
    ),
)

OTHER_MEDIA: dict[int, tuple[str, ...]] = {
    23: ("text/plain", "application/problem+json", "application/jsonx", "text/json"),
    24: ("application/x-www-form-urlencoded",),
    25: ("multipart/form-data; boundary=x",),
    26: ("",),
    27: ("application/json; charset=utf-16",),
    28: ("application/json; charset=nosuch", "application/json; charset=latin-1", "application/json; version=1"),
}
MEDIA = (
    *(
        Row(
            number=number,
            what=f"Content-Type {types[0]!r}",
            status=415,
            code="unsupported_media_type",
            requests=tuple(request for kind in types for request in everywhere(GOOD, Content_Type=kind)),
        )
        for number, types in OTHER_MEDIA.items()
    ),
    Row(
        number=29,
        what="compressed",
        status=415,
        code="unsupported_media_type",
        requests=(
            *everywhere(gzip.compress(GOOD), Content_Encoding="gzip"),
            *everywhere(GOOD, Content_Encoding="gzip"),
            *everywhere(GOOD, Content_Encoding="br"),
        ),
    ),
)

JSON = "application/json"
OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
METHODS = (
    Row(
        number=30,
        what="Accept: text/html",
        status=200,
        headers={"Content-Type": JSON},
        requests=(get("/products/{product}", Accept="text/html"), get("/orders", Accept="text/html,*/*;q=0.1")),
    ),
    Row(
        number=31,
        what="Accept: application/xml",
        status=200,
        headers={"Content-Type": JSON},
        requests=(get("/products/{product}", Accept="application/xml"), get("/orders", Accept="image/*")),
    ),
    Row(
        number=32,
        what="DELETE",
        status=405,
        code="method_not_allowed",
        headers={"Allow": "GET, HEAD, OPTIONS"},
        requests=(Request("DELETE", "/products/{product}"), Request("DELETE", "/orders/{order}")),
    ),
    Row(
        number=33,
        what="PATCH",
        status=405,
        code="method_not_allowed",
        headers={"Allow": "POST, OPTIONS"},
        requests=tuple(Request("PATCH", path, GOOD) for path in WRITES if path != "/orders"),
    ),
    Row(
        number=34,
        what="X-HTTP-Method-Override",
        status=200,
        headers={"Content-Type": JSON},
        requests=(
            *(get("/orders/{order}", **{name: "DELETE"}) for name in OVERRIDES),
            get("/orders/{order}?_method=DELETE"),
        ),
    ),
)


def head_of(line: bytes, *fields: bytes) -> Request:
    return raw(line + b" HTTP/1.1\r\n" + LINE + b"".join(field + b"\r\n" for field in fields) + CLOSE)


PRODUCTS, ORDERS = b"GET /products", b"POST /orders"
SERVER = (
    Row(
        number=35,
        what="body shorter than announced",
        status=408,
        is_servers_own=True,
        scenario="together",
        requests=(
            raw(ORDERS + b" HTTP/1.1\r\n" + LINE + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"),
            raw(ORDERS + b" HTTP/1.1\r\n" + LINE + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
            raw(ORDERS + b" HTTP/1.1\r\n" + LINE),
        ),
    ),
    Row(
        number=36,
        what="length and chunked together",
        status=400,
        is_servers_own=True,
        requests=(
            head_of(ORDERS, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            head_of(ORDERS, b"Content-Length: 5", b"Content-Length: 6"),
            head_of(ORDERS, b"Content-Length: -5"),
        ),
    ),
    Row(
        number=37,
        what="CR or LF in a header",
        status=400,
        is_servers_own=True,
        requests=(
            head_of(PRODUCTS, b"X: a\rFAKE: 1"),
            head_of(PRODUCTS, b"X: a\nFAKE: 1"),
            head_of(PRODUCTS, b"X: a\r\n FAKE"),
            head_of(PRODUCTS, b"X: a\r\nFAKE line"),
            head_of(PRODUCTS, b"X: a\x00FAKE"),
            head_of(PRODUCTS, b"X: a\x01b"),
            head_of(PRODUCTS, b"Bad Name: x"),
        ),
    ),
    Row(
        number=38,
        what="more than 100 headers",
        status=431,
        is_servers_own=True,
        requests=(head_of(PRODUCTS, *(b"X-%d: y" % number for number in range(150))),),
    ),
    Row(
        number=39,
        what="header of more than 8,190 bytes",
        status=431,
        is_servers_own=True,
        requests=(head_of(PRODUCTS, b"X: " + b"y" * 9_000), head_of(PRODUCTS, b"X" * 9_000 + b": y")),
    ),
    Row(
        number=40,
        what="address of more than 4,094 bytes",
        status=414,
        is_servers_own=True,
        requests=(head_of(b"GET /products?q=" + b"x" * 5_000), head_of(b"GET /" + b"x" * 5_000)),
    ),
    Row(
        number=41,
        what="unknown Host",
        status=400,
        code="invalid_input",
        requests=tuple(
            raw(b"GET /products HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE)
            for host in (b"evil.example", b"127.0.0.1.evil.example", b"a b", b"", b"evil\x85FAKE")
        ),
    ),
)

NEW_ID = "(?!.*FAKE)[0-9a-f]{16}"
CONTROL_IDS = (b"a\tFAKE", b"a\x85FAKE", b"a\xe2\x80\xa8FAKE", b"\xc2\x9b31mFAKE")
HEADERS = (
    Row(
        number=42,
        what="X-Request-Id with control characters",
        status=404,
        code="not_found",
        headers={"X-Request-Id": NEW_ID},
        requests=tuple(head_of(b"GET /%0aFAKE", b"X-Request-Id: " + text) for text in CONTROL_IDS),
    ),
    Row(
        number=43,
        what="X-Request-Id of 300 characters",
        status=404,
        code="not_found",
        headers={"X-Request-Id": NEW_ID},
        requests=tuple(
            get("/nowhere", X_Request_Id=text) for text in ("A" * 300, "A" * 65, "", "a b", "<script>", "a,b")
        ),
    ),
    Row(
        number=44,
        what="sane X-Request-Id",
        status=200,
        headers={"X-Request-Id": "5f3c-9b"},
        requests=tuple(
            get(path, X_Request_Id="5f3c-9b") for path in ("/livez", "/products?size=1", "/orders", "/docs")
        ),
    ),
    Row(
        number=45,
        what="Accept-Language of 10 kB",
        status=404,
        code="not_found",
        headers={"Content-Language": "en"},
        requests=(
            get("/nowhere", Accept_Language="x-" * 3_900),
            get("/nowhere", Accept_Language="fr;q=" + "9" * 5_000),
        ),
    ),
    Row(
        number=46,
        what="Accept-Language: ko",
        status=404,
        code="not_found",
        headers={"Content-Language": "ko"},
        requests=(get("/nowhere", Accept_Language="ko"), get("/nowhere", Accept_Language="ko-KR,ko;q=0.9,en;q=0.8")),
    ),
)

SLASHES = (
    *("/products/", "/orders/", "/products/{product}/", "/products/top-selling/", "/auth/token/", "/auth/signup/"),
    *("/balance/", "/livez/", "/readyz/", "/docs/", "/openapi.json/", "/products//"),
)
UNKNOWN = (
    *(
        "/",
        "/nowhere",
        "/balance",
        "/PRODUCTS",
        "//products",
        "/.env",
        "/api/products",
        "/metrics",
        "/openapi",
        "/auth",
    ),
    *("/admin.php", "/debug", "/schema", "/%C3%A9"),
    *("/%2e%2e/etc/passwd", "/products/..%2f..", "/%00", "/%ff", "/%0aFAKE", "/%0d%0aFAKE:%201", "/%E2%80%A8FAKE"),
    *("/%C2%9B31mFAKE", "/products%0a", "/%zz"),
)
ADDRESSES = (
    Row(
        number=47,
        what="trailing slash",
        status=404,
        code="not_found",
        headers={"Location": None},
        requests=tuple(Request(method, path) for path in SLASHES for method in ("GET", "POST", "DELETE")),
    ),
    Row(
        number=48,
        what="unknown path",
        status=404,
        code="not_found",
        headers={"Location": None},
        requests=tuple(Request(method, path) for path in UNKNOWN for method in ("GET", "POST", "DELETE")),
    ),
)

ROWS = (*BODIES, *MEDIA, *METHODS, *SERVER, *HEADERS, *ADDRESSES)
