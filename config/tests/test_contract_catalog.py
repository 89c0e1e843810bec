"""API.md "Catalog" over HTTP; bad input is in test_bad_input.py."""

import json
import uuid
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from config.tests.client import Client
from config.tests.conftest import World
from shop.testing import wait_until

PRICES = [500, 100, 300, 300, 100, 200, 300, 400, 100, 200, 500, 300, 700]


@pytest.fixture(scope="module")
def furniture(world: World) -> dict[str, Any]:
    """A category of thirteen products, some of one price, one hidden, one sold out."""
    category = f"shelf-{uuid.uuid4().hex[:8]}"
    ids = [world.product(price=price, category=category, stock=0 if price == 700 else 5) for price in PRICES]
    world.product(price=50, category=category, hidden=True)
    for place, product_id in enumerate(ids):
        name = f"100% {category} n_{place:02} '\"\\"
        world.rows("UPDATE catalog_product SET name = %s WHERE id = %s", name, product_id)
    return {"category": category, "ids": ids}


@pytest.fixture
def shelf(world: World, furniture: dict[str, Any]) -> dict[str, Any]:
    """The same, popular in a known order: for each test anew, as the clock counts the real sales once a minute."""
    for place, product_id in enumerate(furniture["ids"]):
        world.rows("UPDATE catalog_product SET popularity = %s WHERE id = %s", place * 7 % 5, product_id)
    return furniture


def flat(pages: list[list[Any]]) -> list[int]:
    return [row["id"] for page in pages for row in page]


# --- lists ----------------------------------------------------------------------------------------------------------


def test_row_has_everything_a_card_needs(client: Client, shelf: dict[str, Any], world: World) -> None:
    document = client.get(f"/products?category={shelf['category']}&sort=-price&size=1").json
    (row,) = document["results"]
    (name,) = world.rows("SELECT sku, name FROM catalog_product WHERE id = %s", row["id"])
    assert row == {
        "id": shelf["ids"][-1],
        "sku": name[0],
        "name": name[1],
        "price": 700,
        "currency": "KRW",
        "stock": 0,
        "category": shelf["category"],
        "status": "sold_out",
        "image_url": "",
    }
    assert document["previous"] is None


def expected(shelf: dict[str, Any], sort: str) -> list[int]:
    """Return the shelf's ids in the order of `sort`: ties by id, in the direction of the sort."""
    facts = [(product_id, PRICES[place], place * 7 % 5) for place, product_id in enumerate(shelf["ids"])]
    keys = {
        "newest": lambda fact: -fact[0],
        "price": lambda fact: (fact[1], fact[0]),
        "-price": lambda fact: (-fact[1], -fact[0]),
        "popular": lambda fact: (-fact[2], -fact[0]),
    }
    return [fact[0] for fact in sorted(facts, key=keys[sort])]


@pytest.mark.parametrize("sort", ["newest", "price", "-price", "popular"])
@pytest.mark.parametrize("size", [1, 4, 13, 100])
def test_every_row_comes_once_in_both_directions(client: Client, shelf: dict[str, Any], sort: str, size: int) -> None:
    start = f"/products?category={shelf['category']}&sort={sort}&size={size}"
    forward = client.walk(start)
    assert flat(forward) == expected(shelf, sort)
    assert [len(page) for page in forward[:-1]] == [size] * (len(forward) - 1)
    path = start
    while (link := client.get(path).json["next"]) is not None:
        path = link
    assert client.walk(path, direction="previous") == forward[::-1]


@pytest.mark.parametrize("sort", ["newest", "price", "-price", "popular"])
def test_numbered_pages_are_the_same_pages(client: Client, shelf: dict[str, Any], sort: str) -> None:
    start = f"/products?category={shelf['category']}&sort={sort}&size=4"
    pages = [client.get(f"{start}&page={number}").json["results"] for number in (1, 2, 3, 4, 5)]
    assert pages == [*client.walk(start), []]
    second = client.get(f"{start}&page=2").json
    assert client.get(second["next"]).json["results"] == pages[2]
    assert client.get(second["previous"]).json["results"] == pages[0]
    assert (client.get(f"{start}&page=1").json["previous"], client.get(f"{start}&page=4").json["next"]) == (None, None)


def test_rows_put_on_offer_meanwhile_shift_nothing(client: Client, world: World) -> None:
    category = f"growing-{uuid.uuid4().hex[:8]}"
    old = [world.product(category=category) for _ in range(4)]
    first = client.get(f"/products?category={category}&size=2").json
    new = world.product(category=category)
    second = client.get(first["next"]).json
    assert flat([first["results"], second["results"]]) == old[::-1]
    assert flat([client.get(second["previous"]).json["results"]]) == [old[3], old[2]]
    assert new not in flat([second["results"]])


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("min_price=300", [price >= 300 for price in PRICES]),
        ("max_price=300", [price <= 300 for price in PRICES]),
        ("min_price=200&max_price=300", [200 <= price <= 300 for price in PRICES]),
        ("min_price=300&max_price=300", [price == 300 for price in PRICES]),
        ("min_price=701", [False] * 13),
        ("q=n_03", [place == 3 for place in range(13)]),
        ("q=N_03", [place == 3 for place in range(13)]),
        ("q=%20%20n_03%20", [place == 3 for place in range(13)]),
        ("q=n%2503", [False] * 13),
        ("q=n_0_", [False] * 13),
        ("q=100%25", [True] * 13),
        ("q=" + quote("'\"\\"), [True] * 13),
        ("q=" + quote("' OR 1=1--"), [False] * 13),
        ("q=", [True] * 13),
        ("q=n_1&min_price=300", [place >= 10 and price >= 300 for place, price in enumerate(PRICES)]),
    ],
)
def test_filters(client: Client, shelf: dict[str, Any], query: str, chosen: list[bool]) -> None:
    pages = client.walk(f"/products?category={shelf['category']}&size=3&{query}")
    wanted = [product_id for product_id, is_chosen in zip(shelf["ids"], chosen, strict=True) if is_chosen]
    assert flat(pages) == wanted[::-1]


def test_category_is_matched_whole(client: Client, shelf: dict[str, Any]) -> None:
    assert client.get(f"/products?category={shelf['category'][:-1]}").json["results"] == []


def test_links_keep_the_question_and_stand_in_the_header(client: Client, shelf: dict[str, Any]) -> None:
    answer = client.get(f"/products?category={shelf['category']}&sort=price&size=5&min_price=1&unknown=x")
    following = answer.json["next"]
    assert urlsplit(following).path == "/products"
    assert {"category=" + shelf["category"], "sort=price", "size=5", "min_price=1"} < set(
        urlsplit(following).query.split("&")
    )
    assert "unknown" not in following
    assert answer.headers["Link"] == f'<{following}>; rel="next"'
    second = client.get(following)
    assert second.headers["Link"] == f'<{second.json["next"]}>; rel="next", <{second.json["previous"]}>; rel="prev"'
    assert client.get(f"/products?category={shelf['category']}&size=100").headers["Link"] is None


# --- one product ----------------------------------------------------------------------------------------------------


def test_product_shows_the_card_and_more(client: Client, shelf: dict[str, Any]) -> None:
    product_id = shelf["ids"][0]
    shown = client.get(f"/products/{product_id}").json
    cards = [card for page in client.walk(f"/products?category={shelf['category']}") for card in page]
    (card,) = [card for card in cards if card["id"] == product_id]
    assert shown == card | {"description": "", "created_at": shown["created_at"]}


def test_hidden_product_does_not_exist(client: Client, world: World) -> None:
    hidden = world.product(hidden=True)
    assert client.get(f"/products/{hidden}").outcome == (404, "product_not_found")


def test_stock_is_shown_a_few_seconds_late_at_most(client: Client, world: World) -> None:
    product_id, customer = world.product(stock=3, price=1), world.customer()
    assert client.get(f"/products/{product_id}").json["stock"] == 3
    world.order(customer, {product_id: 3})
    wait_until(lambda: client.get(f"/products/{product_id}").json["stock"] == 0)
    assert client.get(f"/products/{product_id}").json["status"] == "sold_out"


# --- bad questions --------------------------------------------------------------------------------------------------


def test_every_bad_parameter_is_named(client: Client) -> None:
    refused = client.get("/products?size=0&page=x&sort=bogus&min_price=-1")
    assert [(item["pointer"], item["code"]) for item in refused.json["errors"]] == [
        ("?size", "out_of_range"),
        ("?page", "not_an_integer"),
        ("?sort", "not_a_choice"),
        ("?min_price", "not_an_integer"),
    ]


def test_last_numbered_page_works(client: Client) -> None:
    for query in ("page=100&size=100", "page=10000&size=1", "page=500"):
        assert client.get(f"/products?{query}").json["results"] == []


def test_cursor_that_this_list_did_not_make_is_refused(client: Client, shelf: dict[str, Any], world: World) -> None:
    start = f"/products?category={shelf['category']}&size=5"
    link = client.get(start).json["next"]
    good = link.partition("cursor=")[2].partition("&")[0]
    assert client.get(f"{start}&cursor={good}").status == 200
    forged = [good[:-1] + ("A" if good[-1] != "A" else "B"), "A" + good[1:] if good[0] != "A" else "B" + good[1:]]
    garbage = [
        "x",
        "!!!",
        "%00",
        f"{good}%00",
        good + "A" * 2_000,
        "%C3%A9",
        "W10",
        "e30",
        "=" * 5,
        "../..",
    ]
    for cursor in (*forged, *garbage, good[:-3]):
        assert client.get(f"{start}&cursor={cursor}").outcome == (400, "invalid_cursor"), cursor
    for other in (f"{start}&sort=price", f"{start}&min_price=1", "/products?size=5", "/coupons?size=5"):
        assert client.get(f"{other}&cursor={good}").outcome == (400, "invalid_cursor"), other
    assert client.get(f"/orders?cursor={good}", token=world.customer().token).outcome == (400, "invalid_cursor")


def test_size_may_change_on_the_way(client: Client, shelf: dict[str, Any]) -> None:
    link = client.get(f"/products?category={shelf['category']}&size=5").json["next"]
    rest = flat(client.walk(link.replace("size=5", "size=3")))
    assert rest == expected(shelf, "newest")[5:]


# --- caching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["list", "product", "top", "coupons", "coupon"])
def test_public_reads_are_kept_and_asked_again(
    client: Client, world: World, shelf: dict[str, Any], address: str
) -> None:
    path = {
        "list": f"/products?category={shelf['category']}",
        "product": f"/products/{shelf['ids'][1]}",
        "top": "/products/top-selling",
        "coupons": "/coupons?size=1",
        "coupon": f"/coupons/{world.campaign()}",
    }[address]
    first = client.get(path)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"].startswith("public, max-age=")
    assert "stale-while-revalidate=" in first.headers["Cache-Control"]
    assert etag.startswith('"')
    for known in ("*", etag, f"W/{etag}", f'"other", {etag}', f'"other",W/{etag} , "x"'):
        again = client.get(path, If_None_Match=known)
        if address != "top":  # `as_of` moves on
            assert (again.status, again.body) == (304, b""), known
            assert again.headers["ETag"] == etag
            assert again.headers["Content-Type"] is None
    for unknown in ("", '"other"', "nonsense", ",,,", '"', "W/", etag.strip('"')):
        assert client.get(path, If_None_Match=unknown).status == 200, unknown


@pytest.mark.parametrize("path", ["/products?size=3", "/products/top-selling", "/products/{id}", "/coupons?size=3"])
def test_an_answer_that_is_given_again_differs_in_its_id_alone(
    client: Client, shelf: dict[str, Any], path: str
) -> None:
    asked = [client.get(path.format(id=shelf["ids"][0]), X_Request_Id=f"again-{number}") for number in range(6)]
    assert [again.headers["X-Request-Id"] for again in asked] == [f"again-{number}" for number in range(6)]
    changing = ("Date", "X-Request-Id", "ETag", "Content-Length")  # other tests sell and make products meanwhile
    usual = [sorted(field for field in again.headers.items() if field[0] not in changing) for again in asked]
    assert usual == [usual[0]] * 6
    for again in asked:
        assert int(again.headers["Content-Length"]) == len(again.body) > 0


def test_etag_follows_the_content(client: Client, world: World) -> None:
    product_id = world.product(price=10)
    path = f"/products/{product_id}"
    etag = client.get(path).headers["ETag"]
    world.rows("UPDATE catalog_product SET price = 11 WHERE id = %s", product_id)
    wait_until(lambda: client.get(path, If_None_Match=etag).status == 200)
    assert client.get(path).json["price"] == 11


# --- top-selling ----------------------------------------------------------------------------------------------------


def test_top_selling_counts_what_was_paid_and_not_cancelled(client: Client, world: World) -> None:
    customer = world.customer()
    first, second = world.product(price=2, stock=90_000), world.product(price=1, stock=90_000)
    sold = [world.order(customer, {first: 1_000, second: 1_000}) for _ in range(30)]
    rows = {row["product_id"]: row for row in settled_top(client, first, 30_000)}
    assert rows[first]["rank"] + 1 == rows[second]["rank"]  # the same number of pieces: by product id
    assert rows[first] == rows[first] | {"name": "Made for a test", "price": 2, "units_sold": 30_000, "revenue": 60_000}
    client.post(f"/orders/{sold[0]['order_id']}/cancel", token=customer.token)
    rows = {row["product_id"]: row for row in settled_top(client, first, 29_000)}
    assert (rows[first]["revenue"], rows[second]["revenue"]) == (58_000, 29_000)


def settled_top(client: Client, product_id: int, units: int) -> list[Any]:
    """Return the list once it shows so many pieces of a product."""

    def rows() -> list[Any]:
        document = client.get("/products/top-selling").json
        assert document["window_days"] == 3
        assert [row["rank"] for row in document["results"]] == list(range(1, len(document["results"]) + 1))
        order = [(-row["units_sold"], row["product_id"]) for row in document["results"]]
        assert order == sorted(order)
        return list(document["results"])

    wait_until(lambda: any((row["product_id"], row["units_sold"]) == (product_id, units) for row in rows()))
    return rows()


def test_top_selling_looks_back_two_days_and_no_further(client: Client, world: World) -> None:
    """Straight into the sums: sales of four days ago, and of two, of products nobody else sells."""
    old, recent = world.product(price=1), world.product(price=1)
    today = "(now() AT TIME ZONE 'Asia/Seoul')::date"
    for product_id, days, units in ((old, 3, 900_000), (recent, 2, 800_000)):
        world.rows(
            f"INSERT INTO catalog_dailysales (date, product_id, units, revenue) VALUES ({today} - %s, %s, %s, %s)",  # noqa: S608
            days, product_id, units, units,
        )  # fmt: skip
    try:
        assert recent in {row["product_id"] for row in settled_top(client, recent, 800_000)}
        assert old not in {row["product_id"] for row in client.get("/products/top-selling").json["results"]}
    finally:
        world.rows("DELETE FROM catalog_dailysales WHERE product_id IN (%s, %s)", old, recent)


def test_problem_of_a_public_read_is_nobodys_to_keep(client: Client) -> None:
    refused = client.get("/products?size=0")
    assert refused.headers["Cache-Control"] == "private, no-store"
    assert json.loads(refused.body)["type"] == "/docs/problems#invalid_input"
