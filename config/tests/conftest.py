"""Fixtures of the tests that meet the shop over HTTP only."""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
import psycopg
import pytest
import redis

from config.tests.client import Answer, Client, Contract
from coupons.gate import CLAIMS
from shop.testing import wait_until
from shop.testing_shop import RunningShop

USERS, BALANCE = 2_000, 1_000_000
SURPRISES = ("unexpected_error", "unvalidated_input", "item_parked", "process_died_in_batch")


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a wallet that holds BALANCE."""

    user_id: int
    token: str


class World:
    """What tests need in the shop that the API cannot make: straight into PostgreSQL, sound by `audit`'s measure."""

    def __init__(self, shop: RunningShop, client: Client) -> None:
        self.shop, self.client = shop, client
        self.database = psycopg.connect(shop.database_url, autocommit=True)
        self.jwt_key = shop.services["SHOP_JWT_KEY"]
        done = shop.manage("seed", f"--users={USERS}", f"--balance={BALANCE}")
        assert done.returncode == 0, done.stderr
        seeded = self.rows("SELECT id FROM shop_user ORDER BY id DESC LIMIT %s", USERS)
        self._free_users = itertools.chain(user_id for (user_id,) in seeded)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, if it has any."""
        cursor = self.database.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *values: Any) -> Any:
        """Return the only value of the only row."""
        ((value,),) = self.rows(statement, *values)
        return value

    def token(self, user_id: int, /, **claims: Any) -> str:
        """Return an access token as the shop makes them; `claims` replace its own, None takes one out."""
        now = int(time.time())
        token = {"token_type": "access", "exp": now + 3_600, "iat": now, "jti": uuid.uuid4().hex, "user_id": user_id}
        wanted = {name: value for name, value in (token | {"is_staff": False} | claims).items() if value is not None}
        return jwt.encode(wanted, self.jwt_key, algorithm="HS256")

    def customer(self) -> Customer:
        """Return somebody who has not done anything yet."""
        user_id = next(self._free_users)
        return Customer(user_id, self.token(user_id))

    def customers(self, count: int) -> list[Customer]:
        return [self.customer() for _ in range(count)]

    def staff(self, group: str = "Finance") -> Customer:
        """Return an operator of a group; without one ("") somebody who may do nothing."""
        user_id = next(self._free_users)
        self.rows("UPDATE shop_user SET is_staff = true WHERE id = %s", user_id)
        self.rows(
            "INSERT INTO shop_user_groups (user_id, group_id) SELECT %s, id FROM auth_group WHERE name = %s",
            user_id, group,
        )  # fmt: skip
        return Customer(user_id, self.token(user_id, is_staff=True))

    def product(self, *, stock: int = 1_000, price: int = 1_000, category: str = "tests", hidden: bool = False) -> int:
        """Put a product on offer, delivered once."""
        product_id: int = self.one(
            "INSERT INTO catalog_product"
            " (sku, name, description, category, price, image_url, is_hidden, popularity, created_at)"
            " VALUES (%s, 'Made for a test', '', %s, %s, '', %s, 0, now()) RETURNING id",
            uuid.uuid4().hex, category, price, hidden,
        )  # fmt: skip
        self.rows("INSERT INTO catalog_stock (product_id, available) VALUES (%s, %s)", product_id, stock)
        if stock:
            self.rows(
                "INSERT INTO catalog_stockmovement (product_id, kind, delta, reason, created_at)"
                " VALUES (%s, 'restock', %s, 'first delivery', now())",
                product_id, stock,
            )  # fmt: skip
        return product_id

    def campaign(self, *, opens_in: int = -3_600, closes_in: int = 86_400, **columns: Any) -> int:
        """Open a campaign; times in seconds from now."""
        now = datetime.now(UTC)
        row = {
            "name": "Made for a test",
            "discount_type": "fixed",
            "discount_value": 500,
            "max_discount": None,
            "min_order_amount": 0,
            "total_quantity": 100,
            "issued": 0,
            "opens_at": now + timedelta(seconds=opens_in),
            "closes_at": now + timedelta(seconds=closes_in),
            "valid_days": 30,
            "gate_version": 0,
        } | columns
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        statement = f"INSERT INTO coupons_campaign ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608 - names of our own
        return int(self.one(statement, *row.values()))

    def coupon(self, customer: Customer, campaign_id: int) -> int:
        """Let a customer have a campaign's coupon, recorded for good; return its issuance id."""
        answer = self.client.post("/coupons/issue", {"coupon_id": campaign_id}, token=customer.token)
        assert answer.status == 202, answer.body
        path = f"/coupons/issuances/{answer.json['issuance_id']}"
        wait_until(lambda: self.client.get(path, token=customer.token).json["status"] != "pending")
        return int(answer.json["issuance_id"])

    def balance(self, customer: Customer) -> int:
        return int(self.one("SELECT balance FROM balance_wallet WHERE user_id = %s", customer.user_id))

    def stock(self, product_id: int) -> int:
        return int(self.one("SELECT available FROM catalog_stock WHERE product_id = %s", product_id))

    def settled(self, customer: Customer, accepted: Answer) -> Any:
        """Return the order an answer accepted, once it is settled."""
        assert accepted.status == 202, accepted.body
        path = accepted.headers["Location"]
        wait_until(lambda: self.client.get(path, token=customer.token).json["settled_at"] is not None)
        return self.client.get(path, token=customer.token).json

    def order(self, customer: Customer, items: dict[int, int], **body: Any) -> Any:
        """Place an order of {product: quantity} and return it settled."""
        lines = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in items.items()]
        return self.settled(customer, self.client.post("/orders", {"items": lines, **body}, token=customer.token))

    def counts(self) -> tuple[int, ...]:
        """Return how many rows each table has that a request can add to, once nothing is under way."""
        self.assert_settled()
        tables = (
            "balance_transfer", "catalog_stockmovement", "coupons_issuance", "orders_order", "shop_user",
            "shop_idempotencyrecord",
        )  # fmt: skip
        wanted = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)  # noqa: S608 - likewise
        return self.rows(f"SELECT {wanted}")[0]

    def assert_settled(self) -> None:
        """Wait until the pipeline and the gate have nothing left to do."""
        unsettled = "SELECT count(*) FROM orders_order WHERE settled_at IS NULL"
        gate_url = urlsplit(self.shop.redis_url)._replace(path="/1")  # config.settings.GATE_URL
        with redis.Redis.from_url(gate_url.geturl()) as gate:
            wait_until(lambda: self.one(unsettled) == 0 and gate.xlen(CLAIMS) == 0)

    def assert_audit_clean(self) -> None:
        done = self.shop.manage("audit", "--wait", "30")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract()


@pytest.fixture(scope="session")
def client(running_shop: RunningShop, contract: Contract) -> Iterator[Client]:
    """Besides what the client itself checks, nothing may have surprised the shop by the end of the session."""
    made = Client(running_shop.base_url, contract)
    yield made
    made.close()
    log = running_shop.log.read_text()
    surprises = [line for line in log.splitlines() if any(event in line for event in SURPRISES)]
    assert not surprises, surprises[:5]
    assert secrets_in(log, running_shop.services) == []


def secrets_in(log: str, services: dict[str, Any]) -> list[str]:
    """Return the names of the keys and passwords that stand in a log; the demo logins are printed on purpose."""
    kept = {name: str(value) for name, value in services.items() if name.endswith(("_KEY", "_PASSWORD"))}
    return [name for name, value in kept.items() if value in log]


@pytest.fixture(scope="session")
def world(running_shop: RunningShop, client: Client) -> Iterator[World]:
    made = World(running_shop, client)
    yield made
    made.database.close()


@pytest.fixture
def unchanged(world: World) -> Iterator[Callable[[], None]]:
    """Fail unless the test leaves every table as it was; the test may ask in between."""
    before = world.counts()

    def check() -> None:
        assert world.counts() == before

    yield check
    check()
