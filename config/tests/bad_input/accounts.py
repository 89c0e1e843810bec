"""B49-B82: who comes in, signing up, tokens."""

from config.tests.bad_input.rows import CLOSE, LINE, Made, Request, Row, get, post, raw
from config.tests.bad_input.scene import PASSWORD

CHALLENGE: dict[str, str | None] = {"WWW-Authenticate": "Bearer"}


def with_authorization(*texts: str) -> tuple[Request, ...]:
    """Return a read and two writes with each of these `Authorization` headers."""
    return tuple(
        request
        for text in texts
        for request in (
            get("/orders", who="nobody", Authorization=text),
            post("/balance/charge", {"amount": 5}, who="nobody", Authorization=text),
            post("/orders", {"items": [{"product_id": 1, "quantity": 1}]}, who="nobody", Authorization=text),
        )
    )


def refused_token(number: int, what: str, *texts: str, more: tuple[Request, ...] = ()) -> Row:
    requests = (*with_authorization(*texts), *more)
    return Row(number=number, what=what, requests=requests, status=401, code="invalid_token", headers=CHALLENGE)


NO_TOKEN = tuple(
    Request(request.method, request.path, request.body, who="nobody") for request in with_authorization("")
)
TWO_HEADERS = raw(b"GET /orders HTTP/1.1\r\n" + LINE + b"Authorization: Bearer {token}\r\n" * 2 + CLOSE)
GONE = (
    get("/balance/{gone}", who="gone"),
    post("/balance/charge", {"amount": 1}, who="gone"),
    post("/orders", {"items": [{"product_id": Made("product"), "quantity": 1}]}, who="gone"),
    post("/orders", {"items": [{"product_id": Made("product"), "quantity": 1}]}, who="gone", Idempotency_Key="k"),
)
PUBLIC = ("/products", "/products/{product}", "/products/top-selling", "/coupons", "/coupons/{campaign}", "/livez")
TOKENS = (
    Row(number=49, what="no token", requests=NO_TOKEN, status=401, code="not_authenticated", headers=CHALLENGE),
    refused_token(50, "Basic", "Basic a2ltOmtpbQ==", "{token}", "Digest {token}"),
    refused_token(51, "Bearer alone", "Bearer", "Bearer "),
    refused_token(
        52,
        "two tokens",
        "Bearer {token} {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer  {token}",
        more=(TWO_HEADERS,),
    ),
    refused_token(
        53, "garbage", "Bearer x.y.z", "Bearer x", "Bearer ...", "Bearer \u00e9\u00e9\u00e9", "Bearer ' OR 1=1--"
    ),
    refused_token(54, "8 KB", "Bearer " + "x" * 8_000, "Bearer {token}" + "x" * 7_000),
    refused_token(55, "algorithm none", "Bearer {token_none}", "Bearer {token_none_signed}"),
    refused_token(56, "another algorithm or key", *(f"Bearer {{token_{name}}}" for name in ("rs256", "hs512", "key"))),
    refused_token(57, "expired", "Bearer {token_expired}", "Bearer {token_endless}", "Bearer {token_early}"),
    refused_token(58, "tampered", "Bearer {token_cut}", "Bearer {token_swapped}"),
    refused_token(59, "refresh as access", "Bearer {token_refresh}", "Bearer {token_untyped}"),
    Row(number=60, what="user is not there", requests=GONE, status=401, code="invalid_token", headers=CHALLENGE),
    Row(
        number=61,
        what="public address, bad token",
        status=200,
        requests=tuple(get(path, who="nobody", Authorization="Bearer x.y.z") for path in PUBLIC),
    ),
)


def sign_up(username: object, password: object = PASSWORD, **more: object) -> Request:
    return post("/auth/signup", {"username": username, "password": password, **more}, who="nobody")


BAD_NAMES: dict[int, tuple[str, tuple[object, ...]]] = {
    62: ("empty name", ("",)),
    63: ("blank name", ("   ", "\u3000", "kim lee")),
    64: ("name of 151 characters", ("k" * 151, "\ufb03" * 51)),  # the latter 51 as sent, 153 as stored
    65: (
        "control or bidi",
        ("kim\u0007lee", "kim\u202elee", "kim\nFAKE", "kim\r\nFAKE", "kim\u2028FAKE", "kim\u200blee"),
    ),
    66: ("name that is no string", (7, None, True, ["kim"], {"kim": 1})),
}
BAD_PASSWORDS: dict[int, tuple[str, tuple[object, ...]]] = {
    67: ("short password", ("plum-7!", "", None, 5)),
    68: ("common password", ("password123", "qwertyuiop")),
    69: ("digits only", ("73915284660",)),
    70: ("like the name", ("kimfreshname1", "KimFreshName")),
    71: ("password of 5,000 characters", ("x" * 5_000, "x" * 1_001)),
}
SIGNING_UP = (
    *(
        Row(number=number, what=what, requests=tuple(sign_up(name) for name in names), status=400, code="invalid_input")
        for number, (what, names) in BAD_NAMES.items()
    ),
    *(
        Row(
            number=number,
            what=what,
            status=400,
            code="invalid_input",
            requests=tuple(sign_up("kimfreshname", password) for password in passwords),
        )
        for number, (what, passwords) in BAD_PASSWORDS.items()
    ),
    Row(number=72, what="name taken", requests=(sign_up(Made("taken")),), status=409, code="username_taken"),
    Row(
        number=73,
        what="in another spelling",
        status=409,
        code="username_taken",
        requests=tuple(sign_up(Made(spelling)) for spelling in ("taken_upper", "taken_wide", "taken_spaced")),
    ),
    Row(
        number=74,
        what="two at once",
        requests=(sign_up(Made("free_name")),),
        status=409,
        code="username_taken",
        scenario="at_once",
        may_change=("shop_user", "balance_account", "balance_wallet"),
    ),
    Row(
        number=75,
        what="extra is_staff",
        status=400,
        code="unknown_field",
        requests=tuple(
            sign_up(Made("free_name"), **{name: True}) for name in ("is_staff", "is_superuser", "id", "balance")
        ),
    ),
)


def log_in(username: object, password: object = PASSWORD) -> Request:
    return post("/auth/token", {"username": username, "password": password}, who="nobody")


WRONG, UNKNOWN, DISABLED = log_in(Made("taken"), "wrong-horse-12"), log_in(Made("free_name")), log_in(Made("disabled"))


def refresh(token: object) -> Request:
    return post("/auth/token/refresh", {"refresh": token}, who="nobody")


GETTING_TOKENS = (
    Row(number=76, what="wrong password", requests=(WRONG,), status=401, code="invalid_credentials", headers=CHALLENGE),
    Row(
        number=77,
        what="unknown user",
        requests=(UNKNOWN, WRONG),
        status=401,
        code="invalid_credentials",
        headers=CHALLENGE,
        one_answer=True,
    ),
    Row(
        number=78,
        what="disabled user",
        requests=(DISABLED, WRONG),
        status=401,
        code="invalid_credentials",
        headers=CHALLENGE,
        one_answer=True,
    ),
    Row(
        number=79,
        what="20 quick tries",
        requests=(WRONG,),
        status=429,
        code="too_many_requests",
        headers={"Retry-After": r"[1-9]\d*"},
        scenario="twenty_tries",
    ),
    Row(
        number=80,
        what="refresh twice",
        requests=(refresh(Made("refresh")),),
        status=401,
        code="invalid_token",
        before=(refresh(Made("refresh")),),
    ),
    Row(
        number=81,
        what="access as refresh",
        status=401,
        code="invalid_token",
        requests=tuple(refresh(text) for text in (Made("token"), "nonsense", Made("refresh_cut"), "' OR 1=1--")),
    ),
    Row(
        number=82,
        what="refresh after a new password",
        requests=(refresh(Made("refresh_stale")),),
        status=401,
        code="invalid_token",
    ),
)

ROWS = (*TOKENS, *SIGNING_UP, *GETTING_TOKENS)
