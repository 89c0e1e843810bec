"""What a run needs in the shop: users with money and tokens, products with stock, campaigns; added to what is there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtests.scenarios import Plan
from shop import db
from shop.auth import access_token_for
from shop.seeding import Wish, seed, tidy

TOKEN_LIFETIME = timedelta(days=1)
BALANCE = 200_000_000  # enough for any run's orders, and with its charges below the wallet's limit of 1,000,000,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """Ids of what was seeded for one run; the preflight has a user, a product and a campaign of its own."""

    users: range
    products: range
    coupons: range
    hot_coupon: int
    guide_user: int
    guide_product: int
    guide_coupon: int
    tokens: Path

    @property
    def environment(self) -> dict[str, str]:
        """What k6 gets with `-e`."""
        return {
            "TOKENS": str(self.tokens),
            "PRODUCT_FIRST": str(self.products.start),
            "PRODUCT_COUNT": str(len(self.products)),
            "COUPON_FIRST": str(self.coupons.start),
            "COUPON_COUNT": str(len(self.coupons)),
            "HOT_COUPON": str(self.hot_coupon),
        }

    @property
    def campaigns(self) -> list[int]:
        return [*self.coupons, self.hot_coupon]


@contextmanager
def supplies(plan: Plan, *, now: datetime) -> Iterator[Supplies]:
    """
    Seed what the plan needs and write the tokens to a file that only its owner may read, until the run ends.

    The last of each kind is the preflight's: it must not take the piece that a rush counts.
    """
    users, products = _whole_shop() if plan.numbers["whole_shop"] else _seeded(plan, now)
    coupons, hot = _all_campaigns(plan, now)
    tidy(_silent)
    with TemporaryDirectory(prefix="loadtest-") as directory:
        tokens = Path(directory) / "tokens.json"
        _write_tokens(tokens, _spread(users[:-1], plan.number("users")))
        yield Supplies(
            users=users[:-1],
            products=products[:-1],
            coupons=coupons[:-1],
            hot_coupon=hot.start,
            guide_user=users[-1],
            guide_product=products[-1],
            guide_coupon=coupons[-1],
            tokens=tokens,
        )


def _seeded(plan: Plan, now: datetime) -> tuple[range, range]:
    """Return the users and products of this run alone."""
    wanted = {"users": plan.number("users") + 1, "products": plan.number("products") + 1}
    options: dict[str, int | None] = {"balance": BALANCE, "stock": plan.number("stock")}
    blocks = seed(wish=Wish(counts=wanted, options=options), now=now, progress=_silent)
    return blocks["users"], blocks["products"]


def _whole_shop() -> tuple[range, range]:
    """Return everybody and everything there is (one block of ids each, as `seed` makes it): how size itself costs."""
    first_user, last_user = db.rows("SELECT min(user_id), max(user_id) FROM balance_wallet")[0]
    first_product, last_product = db.rows("SELECT min(id), max(id) FROM catalog_product")[0]
    return range(first_user, last_user + 1), range(first_product, last_product + 1)


def _spread(users: range, count: int) -> range:
    """Return so many of the users, at equal distances."""
    return users[:: max(1, len(users) // count)][:count]


def with_new_campaigns(stock: Supplies, plan: Plan, *, now: datetime) -> Supplies:
    """Return the supplies with campaigns nobody has claimed: of several runs each finds the same."""
    coupons, hot = _all_campaigns(plan, now)
    return replace(stock, coupons=coupons[:-1], hot_coupon=hot.start, guide_coupon=coupons[-1])


def _silent(_name: str, _done: int, _total: int) -> None:
    """Seeding takes seconds here; no bar."""


def _all_campaigns(plan: Plan, now: datetime) -> tuple[range, range]:
    """Return the run's campaigns, the last of them the preflight's, and the hot one."""
    coupons = _campaigns(plan.number("coupons") + 1, plan.number("coupon_quantity"), now)
    return coupons, _campaigns(1, plan.number("hot_coupon_quantity"), now)


def _campaigns(count: int, quantity: int, now: datetime) -> range:
    wish = Wish(counts={"coupons": count}, options={"coupon_quantity": quantity})
    return seed(wish=wish, now=now, progress=_silent)["coupons"]


def _write_tokens(file: Path, user_ids: range) -> None:
    tokens = [{"user_id": user_id, "access": token_of(user_id)} for user_id in user_ids]
    with open(file, "w", opener=_private, encoding="utf-8") as out:
        json.dump(tokens, out)


def token_of(user_id: int) -> str:
    return access_token_for(user_id=user_id, lifetime=TOKEN_LIFETIME)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
