"""A small lab on the test session's engines, and a market whose end is known to the piece."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from loadtests.lab import audit, engines, tables
from loadtests.lab.answers import Answer
from loadtests.lab.clients import place_order
from loadtests.lab.market import Line, Market, Order
from loadtests.lab.means import Means, Servers, Strategy, connect
from loadtests.lab.strategies import BY_NAME
from shop.testing import Running

HOT, OTHER, THIRD = 1, 2, 3
PRICE, PIECES, RICH = 1_000, 15, 1_000_000
COUPON, OFF = 1, 300
POOR_USER = 9
RUSH = 40  # orders for the hot product


def market() -> Market:
    """
    Return 44 orders that end alike under every strategy: 17 paid, 25 out of stock, 1 coupon used, 1 without money.

    Forty users want one of fifteen pieces, two orders name one coupon, two orders of one user have money for one.
    """
    wallets = dict.fromkeys(range(1, 101), RICH) | {POOR_USER: 3 * PRICE}
    rush = [Order(number, 20 + number, None, (Line(OTHER, 1), Line(HOT, 1))) for number in range(1, RUSH + 1)]
    couponed = [Order(number, 5, COUPON, (Line(OTHER, 1), Line(THIRD, 1))) for number in (41, 42)]
    poor = [Order(number, POOR_USER, None, (Line(THIRD, 1), Line(OTHER, 1))) for number in (43, 44)]
    stock = {HOT: (PRICE, PIECES), OTHER: (PRICE, 1_000), THIRD: (PRICE, 1_000)}
    return Market(stock, wallets, {COUPON: (5, OFF)}, [*rush, *couponed, *poor])


def with_pieces(base: Market, pieces: int) -> Market:
    """Return the market with this many pieces of the hot product."""
    return dataclasses.replace(base, stock=base.stock | {HOT: (PRICE, pieces)})


@contextmanager
def opened() -> Iterator[tuple[Servers, psycopg.Connection]]:
    """Open a database of the lab's own beside the test database."""
    with (
        engines.servers(clients=8) as servers,
        psycopg.connect(servers.database_url, autocommit=True) as connection,
    ):
        tables.create(connection)
        yield servers, connection


class Bench:
    """Places single orders in this process, so that a test can stop one of them midway."""

    def __init__(self, servers: Servers, connection: psycopg.Connection, means: list[Means]) -> None:
        self.servers, self.connection, self.means = servers, connection, means
        self.answers: dict[int, str] = {}

    def strategy(self, name: str, customer: int = 0) -> Strategy:
        return BY_NAME[name](self.means[customer])

    def place(self, name: str, order: Order, customer: int = 0) -> Answer:
        answer = place_order(self.strategy(name, customer), order)
        self.answers[order.number] = answer.said
        return answer

    def start(self, name: str, order: Order, customer: int) -> Running:
        return Running(lambda: self.place(name, order, customer))

    def found(self) -> dict[str, list[str]]:
        """Return what the audit finds now, as check -> examples."""
        return {item.check: item.examples for item in audit.violations(self.connection, self.answers)}


@contextmanager
def bench(servers: Servers, connection: psycopg.Connection, filled: Market) -> Iterator[Bench]:
    """Fill the tables and give two customers their connections."""
    tables.fill(connection, filled)
    means = [connect(servers) for _customer in range(2)]
    for mine in means:
        mine.connection.execute("SET deadlock_timeout = '20ms'")  # PostgreSQL looks for a circle after a second
    try:
        yield Bench(servers, connection, means)
    finally:
        for mine in means:
            mine.close()


def blocked_in_postgres(connection: psycopg.Connection) -> Callable[[], bool]:
    """Return a condition: a session of the lab queues for a lock."""
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'locklab' AND wait_event_type = 'Lock'
    """
    return lambda: connection.execute(sql).fetchone() == (1,)


def blocked_in_redis(means: Means, *, looking: Means) -> Callable[[], bool]:
    """Return a condition: this customer waits in a blocking call. Asked of it now, before its connection is busy."""
    number = str(means.redis.client_id())
    return lambda: any(entry["id"] == number and "b" in entry["flags"] for entry in looking.redis.client_list())
