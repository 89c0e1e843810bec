"""B154-B188: questions."""

from config.tests.bad_input.rows import Request, Row, get


def gets(*paths: str, who: str = "customer", **headers: str) -> tuple[Request, ...]:
    return tuple(get(path, who=who, **headers) for path in paths)


def both(*users: object) -> tuple[str, ...]:
    """Return the addresses of these users' balances and transfers."""
    return tuple(f"/balance/{user}{tail}" for user in users for tail in ("", "/transfers"))


NO_ADDRESSES = ("abc", "-1", "1.0", "%31x", "%D9%A1", "1e3", "1%00", "1%0aFAKE", "1;2", "9" * 41)
BALANCES = (
    Row(
        number=154,
        what="another's balance, or nobody's",
        requests=gets(*both("{other}", 2**62, 2**63, 10**39, 0)),
        status=403,
        code="not_your_account",
        one_answer=True,
    ),
    Row(
        number=155,
        what="staff, unknown user",
        requests=gets(*both(2**62, 2**63, 10**39, 0), who="staff"),
        status=404,
        code="user_not_found",
    ),
    Row(number=156, what="/balance/abc", requests=gets(*both(*NO_ADDRESSES)), status=404, code="not_found"),
)
PRODUCTS = (
    Row(
        number=157,
        what="/products/0",
        requests=gets("/products/0", f"/products/{2**63 - 1}"),
        status=404,
        code="product_not_found",
    ),
    Row(
        number=158,
        what="10^26",
        requests=gets(f"/products/{10**26}", f"/products/{2**63}"),
        status=404,
        code="not_found",
    ),
    Row(
        number=159,
        what="1%00",
        status=404,
        code="not_found",
        requests=gets(*(f"/products/{text}" for text in ("1%00", "%001", "-1", "abc", "%D9%A1", "1%0a"))),
    ),
    Row(number=160, what="hidden product", requests=gets("/products/{hidden}"), status=404, code="product_not_found"),
)

LISTS = ("/products", "/orders", "/coupons", "/coupons/mine", "/balance/{customer}/transfers")


def bad_questions(
    number: int, *queries: str, paths: tuple[str, ...] = ("/products",), code: str = "invalid_input", pointer: str = ""
) -> Row:
    """Return a row of query strings, each asked of every path."""
    requests = gets(*(f"{path}?{query}" for path in paths for query in queries))
    return Row(number=number, what=queries[0][:40], requests=requests, status=400, code=code, pointer=pointer)


PAGES = (
    bad_questions(161, "size=0", paths=LISTS),
    bad_questions(162, "size=101", f"size={2**63}", paths=LISTS),
    bad_questions(163, "size=abc", "size=1.0", "size=-1", "size=%2B5", "size=1_0", "size=1%00", paths=LISTS),
    bad_questions(164, "size=%D9%A2", "size=%EF%BC%95", "size=%C2%B2", paths=LISTS),
    bad_questions(165, "size=", "size=%20", paths=LISTS),
    bad_questions(166, "page=0"),
    bad_questions(167, "page=-1", "page=", "page=%EF%BC%91"),
    bad_questions(168, "page=1e3", "page=1.0"),
    bad_questions(169, f"page={10**20}", f"page={2**63}"),
    bad_questions(170, "page=501", "page=101&size=100", f"page={2**62}", code="page_too_deep"),
    bad_questions(171, "page=2&cursor={cursor}", pointer=r"\?page"),
)
CURSORS = (
    bad_questions(
        172,
        *(f"cursor={text}" for text in ("x", "!!!", "W10", "%C3%A9", "../..", "A" * 2_000)),
        paths=LISTS,
        code="invalid_cursor",
    ),
    bad_questions(173, "cursor={cursor_forged}", "cursor={cursor_cut}", "cursor={cursor}A", code="invalid_cursor"),
    Row(
        number=174,
        what="cursor of another list",
        status=400,
        code="invalid_cursor",
        requests=gets(
            "/products?cursor={cursor}&sort=price",
            "/products?cursor={cursor}&min_price=1",
            "/coupons?cursor={cursor}",
            "/orders?cursor={cursor}",
            "/coupons/mine?cursor={cursor}",
            "/balance/{customer}/transfers?cursor={cursor}",
        ),
    ),
    bad_questions(175, "cursor=%00", "cursor={cursor}%00", "cursor=a%00b", code="invalid_cursor"),
)
SEARCHES = (
    bad_questions(176, "q=%00", "q=a%00b", "category=%00", "q=a%0aFAKE", "q=a%C2%85FAKE"),
    bad_questions(177, "q=%ff", "category=%fe", "q=%ED%A0%80", "q=%C0%80", "q=a&category=%ff"),
    bad_questions(178, "q=" + "x" * 1_000, "q=" + "x" * 201, "category=" + "x" * 61),
    bad_questions(179, "sort=bogus", "sort=", "sort=PRICE", "sort=-newest", "sort=id;drop"),
    bad_questions(180, "min_price=-1", "min_price=abc", "max_price=1.5", "max_price=", f"max_price={2**63}"),
    bad_questions(181, "min_price=5&max_price=4"),
    Row(
        number=182,
        what="unknown parameter",
        status=200,
        scenario="same_etag",
        requests=gets(
            *(
                f"/products?size=2&{more}"
                for more in ("utm=1", "utm=1&utm=2", "%00=1", "sort=newest&a[]=%20", "utm_term=%C7%D1%B1%DB", "%ff=1")
            )
        ),
    ),
    bad_questions(183, "size=5&size=5", "size=5&size=6", paths=LISTS),
)
PUBLIC = ("/products?size=2", "/products/{product}", "/coupons/{campaign}", "/openapi.json")
CACHES = (
    Row(number=184, what="If-None-Match: *", requests=gets(*PUBLIC, If_None_Match="*"), status=304),
    Row(
        number=185,
        what="malformed If-None-Match",
        status=200,
        requests=tuple(
            request
            for text in ("nonsense", ",,,", '"', "W/", '"\u00ff', '"other"', "")
            for request in gets(*PUBLIC, If_None_Match=text)
        ),
    ),
)
OTHERS = (
    Row(
        number=186,
        what="another's order",
        status=404,
        code="order_not_found",
        one_answer=True,
        requests=gets("/orders/{others_order}", f"/orders/{2**62}", "/orders/0"),
    ),
    Row(
        number=187,
        what="another's issuance",
        status=404,
        code="issuance_not_found",
        one_answer=True,
        requests=gets("/coupons/issuances/{others_coupon}", f"/coupons/issuances/{2**62}", "/coupons/issuances/0"),
    ),
    bad_questions(188, "status=bogus", "status=", "status=PAID", "status=%00", paths=("/orders", "/coupons/mine")),
)

ROWS = (*BALANCES, *PRODUCTS, *PAGES, *CURSORS, *SEARCHES, *CACHES, *OTHERS)
