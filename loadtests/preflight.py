"""
One customer walks every endpoint before any load: a fault that hits each request must not be measured, but named.

The original report's runs sent 32,444 writes of which none could succeed; one order would have told.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtests.client import Answer, Client, NoAnswer

SETTLE_SECONDS = 15.0
POLL_SECONDS = 0.1


class Unfit(Exception):
    """The first wrong answer: what was asked, what came, and its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Who walks, and what there is for them."""

    base_url: str
    user_id: int
    token: str
    product_id: int
    coupon_id: int


def walk(walk: Walk) -> list[str]:
    """
    Ask every endpoint the load will ask, follow an order and a coupon to the end, and return what was done.

    Raises: Unfit.
    """
    client, done = Client(walk.base_url, token=walk.token), []
    try:
        for step in (_read, _charge, _claim, _order):
            done += step(client, walk)
    finally:
        client.close()
    return done


def _ask(client: Client, method: str, path: str, status: int, body: dict[str, Any] | None = None) -> Any:
    asked = f"{method} {path}"
    try:
        answer = client.ask(method, path, body)
    except NoAnswer as error:
        raise Unfit(f"{asked}: no answer: {error}") from error
    if answer.status != status or not isinstance(answer.body, dict):
        raise Unfit(_wrong(asked, f"expected {status}", answer))
    return answer.body


def _wrong(asked: str, wanted: str, answer: Answer) -> str:
    return f"{asked}: {wanted}, got {answer.status}\n{answer.text[:2_000]}"


def _expect(asked: str, body: dict[str, Any], is_right: bool, wanted: str) -> None:
    if not is_right:
        raise Unfit(f"{asked}: expected {wanted}, got\n{body}")


def _read(client: Client, walk: Walk) -> list[str]:
    _ask(client, "GET", "/readyz", 200)
    listed = _ask(client, "GET", "/products?size=20&page=1&sort=newest", 200)
    _expect("GET /products", listed, bool(listed.get("results")), "products")
    top = _ask(client, "GET", "/products/top-selling", 200)
    _expect("GET /products/top-selling", top, "results" in top, "results")
    product = _ask(client, "GET", f"/products/{walk.product_id}", 200)
    _expect("GET /products/{id}", product, product.get("id") == walk.product_id, f"product {walk.product_id}")
    return ["ready", "list", "top-selling", "detail"]


def _charge(client: Client, walk: Walk) -> list[str]:
    path = f"/balance/{walk.user_id}"
    before = _ask(client, "GET", path, 200)["balance"]
    _ask(client, "POST", "/balance/charge", 200, {"amount": 1_000})
    after = _ask(client, "GET", path, 200)
    _expect(f"GET {path} after a charge of 1,000", after, after["balance"] == before + 1_000, f"{before + 1_000}")
    return ["balance", "charge"]


def _claim(client: Client, walk: Walk) -> list[str]:
    place = _ask(client, "POST", "/coupons/issue", 202, {"coupon_id": walk.coupon_id})
    path = f"/coupons/issuances/{place['issuance_id']}"
    _until(client, path, lambda body: body["status"] == "issued", "issued")
    return ["coupon issued"]


def _order(client: Client, walk: Walk) -> list[str]:
    items = [{"product_id": walk.product_id, "quantity": 1}]
    accepted = _ask(client, "POST", "/orders", 202, {"items": items})
    _until(client, f"/orders/{accepted['order_id']}", lambda body: body["status"] == "paid", "paid")
    return ["order paid"]


def _until(client: Client, path: str, is_done: Callable[[dict[str, Any]], bool], wanted: str) -> None:
    """Follow something accepted until it is settled: 202 alone proves nothing."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not is_done(body := _ask(client, "GET", path, 200)):
        if time.monotonic() > deadline:
            raise Unfit(f"GET {path}: expected {wanted} within {SETTLE_SECONDS:.0f} s, still\n{body}")
        time.sleep(POLL_SECONDS)
