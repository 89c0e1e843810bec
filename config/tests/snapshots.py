"""What the shop knows, table by table, to see whether a request has changed any of it."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis

WHOLE_ROWS = (
    *("balance_account", "balance_wallet", "balance_transfer", "catalog_stock", "catalog_stockmovement"),
    *("catalog_dailysales", "orders_order", "orders_orderline", "orders_orderhistory", "shop_user"),
    *("shop_idempotencyrecord", "token_blacklist_outstandingtoken", "token_blacklist_blacklistedtoken"),
)
ROWS: dict[str, str] = {
    **dict.fromkeys(WHOLE_ROWS, "row_.*"),
    # Without what the clock refreshes (popularity) and what counts the gate's rebuilds (gate_version).
    "catalog_product": "row_.id, sku, name, description, category, price, image_url, is_hidden",
    "coupons_campaign": "row_.id, name, discount_type, discount_value, max_discount, min_order_amount, total_quantity, "
    "issued, opens_at, closes_at, valid_days",
    # A coupon whose time is over is expired, whether or not the clock has written it down yet.
    "coupons_issuance": "row_.id, campaign_id, user_id, position, issued_at, expires_at, used_at, order_id, "
    "CASE WHEN status = 'issued' AND expires_at < now() THEN 'expired' ELSE status END",
}
"""Business tables, and which of their columns only a request may change."""

PLACES = "places at the gate"
Snapshot = dict[str, tuple[int, ...]]


def of_tables(database: psycopg.Connection[Any]) -> Snapshot:
    """Return each table's number of rows and the sum of their hashes."""
    statement = " UNION ALL ".join(
        f"SELECT '{table}', count(*), COALESCE(sum(hashtextextended(ROW({columns})::text, 0)), 0) FROM {table} row_"  # noqa: S608 - tables of ours
        for table, columns in ROWS.items()
    )
    return {table: (int(count), int(total)) for table, count, total in database.execute(statement.encode()).fetchall()}


def of_places(redis_url: str) -> Snapshot:
    """Return how many campaigns have places taken at the gate, how many places, and how many wait to be recorded."""
    url = urlsplit(redis_url)._replace(path="/1").geturl()  # config.settings.GATE_URL
    with redis.Redis.from_url(url) as gate:
        keys = sorted(gate.scan_iter("gate:*:users", count=1_000))
        pipe = gate.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        users: Iterable[dict[bytes, bytes]] = pipe.execute()
        places = [(key, *place) for key, holders in zip(keys, users, strict=True) for place in holders.items()]
        return {PLACES: (len(keys), hash(tuple(sorted(places))), int(gate.hlen("gate:pending")))}


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the names of what differs."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
