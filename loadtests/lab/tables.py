"""
The lab's own tables, the same for every strategy.

There is no CHECK and no UNIQUE that would turn a lost update or a doubled debit into an error: here the audit is the
judge, and it must be able to see the damage.
"""

import psycopg

from loadtests.lab.answers import REFUSALS
from loadtests.lab.market import Market

SCHEMA = """
    CREATE SCHEMA locklab;
    CREATE TABLE locklab.stock (
        product_id int PRIMARY KEY, price bigint NOT NULL, initial int NOT NULL, available int NOT NULL,
        version int NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50, autovacuum_enabled = false);
    CREATE TABLE locklab.wallet (
        user_id int PRIMARY KEY, initial bigint NOT NULL, balance bigint NOT NULL, version int NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50, autovacuum_enabled = false);
    CREATE TABLE locklab.coupon (
        coupon_id int PRIMARY KEY, user_id int NOT NULL, discount bigint NOT NULL, used_by bigint
    ) WITH (autovacuum_enabled = false);
    CREATE TABLE locklab.orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number int NOT NULL, user_id int NOT NULL, coupon_id int,
        subtotal bigint NOT NULL, discount bigint NOT NULL, total bigint NOT NULL,
        state text NOT NULL, refusal text NOT NULL DEFAULT ''
    ) WITH (autovacuum_enabled = false);
    CREATE INDEX orders_waiting ON locklab.orders (state, id) WHERE state NOT IN ('paid', 'failed');
    CREATE TABLE locklab.line (
        order_id bigint NOT NULL, product_id int NOT NULL, quantity int NOT NULL, unit_price bigint NOT NULL,
        PRIMARY KEY (order_id, product_id)
    ) WITH (autovacuum_enabled = false);
    CREATE TABLE locklab.movement (
        order_id bigint NOT NULL, product_id int NOT NULL, quantity int NOT NULL
    ) WITH (autovacuum_enabled = false);
    CREATE INDEX movement_order ON locklab.movement (order_id);
    CREATE TABLE locklab.transfer (
        order_id bigint NOT NULL, user_id int NOT NULL, amount bigint NOT NULL
    ) WITH (autovacuum_enabled = false);
    CREATE INDEX transfer_order ON locklab.transfer (order_id);
    CREATE TABLE locklab.answer (number int NOT NULL, said text NOT NULL) WITH (autovacuum_enabled = false);
"""
FILLED = ("stock", "wallet", "coupon")
WRITTEN = ("orders", "line", "movement", "transfer", "answer")


def create(connection: psycopg.Connection) -> None:
    """Make the tables in an empty database."""
    connection.execute(SCHEMA)


def fill(connection: psycopg.Connection, market: Market) -> None:
    """Put the tables back to the beginning of a run."""
    names = ", ".join(f"locklab.{name}" for name in (*FILLED, *WRITTEN))
    connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY locklab.stock (product_id, price, initial, available) FROM STDIN") as rows:
            for product_id, (price, pieces) in market.stock.items():
                rows.write_row((product_id, price, pieces, pieces))
        with cursor.copy("COPY locklab.wallet (user_id, initial, balance) FROM STDIN") as rows:
            for user_id, balance in market.wallets.items():
                rows.write_row((user_id, balance, balance))
        with cursor.copy("COPY locklab.coupon (coupon_id, user_id, discount) FROM STDIN") as rows:
            for coupon_id, (user_id, discount) in market.coupons.items():
                rows.write_row((coupon_id, user_id, discount))
    connection.execute("VACUUM ANALYZE locklab.stock, locklab.wallet, locklab.coupon")


def tell(connection: psycopg.Connection, answers: dict[int, str]) -> None:
    """Write down what the customers were told, so that the audit can compare it with the rows."""
    with connection.cursor() as cursor, cursor.copy("COPY locklab.answer (number, said) FROM STDIN") as rows:
        for number, said in answers.items():
            rows.write_row((number, said))


def refused(connection: psycopg.Connection) -> dict[str, int]:
    """Return how many orders were refused as designed, by reason."""
    rows = connection.execute("SELECT refusal, count(*) FROM locklab.orders WHERE state = 'failed' GROUP BY 1")
    return {reason: count for reason, count in rows if reason in REFUSALS}
