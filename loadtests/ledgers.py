"""
What the server and the database counted, before and after a run.

The server's figures are its own request counters; the database's are the rows that belong to the users seeded for this
run, so other customers of the same shop do not disturb them. The server's counters know no users: somebody else's
requests during the run show up as a difference.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtests import scenarios
from loadtests.client import Client, NoAnswer
from loadtests.phases import Window
from loadtests.results import Latency, Settlement
from loadtests.supplies import Supplies
from shop import db

COUNTER = re.compile(r"^shop_request_seconds_count\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PLACEHOLDER = re.compile(r"<[^>]*>")

ServerCounts = Mapping[tuple[str, str], int]
"""Requests by (endpoint, HTTP status)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One reading; `server` is None where the shop keeps no request counters that could be read."""

    server: ServerCounts | None
    rows: Mapping[str, int] = field(default_factory=dict)


def read_server(metrics_url: str) -> ServerCounts | None:
    """Return the server's counts, or None when there is no exporter to ask."""
    if not metrics_url:
        return None
    base, _slash, path = metrics_url.rpartition("/")
    client = Client(base)
    try:
        answer = client.get(f"/{path}")
    except NoAnswer:
        return None
    finally:
        client.close()
    return counts_in(answer.text) if answer.status == 200 else None


def counts_in(text: str) -> ServerCounts:
    """Return the counts in an exporter's text, for the endpoints of the load."""
    places = {(item["method"], item["route"]): name for name, item in scenarios.endpoints().items()}
    counts: dict[tuple[str, str], int] = {}
    for found in COUNTER.finditer(text):
        labels = dict(LABEL.findall(found["labels"]))
        endpoint = places.get((labels["method"], PLACEHOLDER.sub("<>", labels["route"])))
        if endpoint is not None:
            key = (endpoint, labels["status"])
            counts[key] = counts.get(key, 0) + int(float(found["value"]))
    return counts


ROWS = """
    SELECT
        (SELECT count(*) FROM orders_order WHERE user_id BETWEEN %(first)s AND %(last)s),
        (SELECT count(*) FROM coupons_issuance WHERE user_id BETWEEN %(first)s AND %(last)s AND status <> 'rejected'),
        (SELECT count(*) FROM balance_transfer t JOIN balance_wallet w ON w.account_id = t.credit_account_id
         WHERE t.kind = 'charge' AND w.user_id BETWEEN %(first)s AND %(last)s),
        (SELECT coalesce(sum(t.amount), 0) FROM balance_transfer t JOIN balance_wallet w
         ON w.account_id = t.credit_account_id
         WHERE t.kind = 'charge' AND w.user_id BETWEEN %(first)s AND %(last)s)
"""


def read(supplies: Supplies, *, metrics_url: str) -> Ledger:
    """Read both; the caller sees to it that no request of its own is under way."""
    row = db.rows(ROWS, {"first": supplies.users.start, "last": supplies.users.stop - 1})[0]
    names = ("orders", "coupons", "charges", "charged")
    rows = {name: int(value) for name, value in zip(names, row, strict=True)}
    return Ledger(server=read_server(metrics_url), rows=rows)


def difference(before: Ledger, after: Ledger) -> Ledger:
    """Return what was added between two readings."""
    rows = {name: value - before.rows.get(name, 0) for name, value in after.rows.items()}
    if before.server is None or after.server is None:
        return Ledger(server=None, rows=rows)
    added = {key: count - before.server.get(key, 0) for key, count in after.server.items()}
    return Ledger(server={key: count for key, count in added.items() if count}, rows=rows)


# --- from accepted to settled ---------------------------------------------------------------------------------------
# Both ends are the moments the shop itself recorded: a batch stamps its rows when it begins, so at most the length of
# one batch is missing. The series "oldest order" looks from outside, once a second, and bounds the error.

ORDERS = """
    SELECT count(*), count(*) FILTER (WHERE settled_at IS NULL),
           avg(ms), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms), max(ms)
    FROM (
        SELECT settled_at, greatest(0, extract(epoch FROM settled_at - created_at) * 1000)::float8 AS ms
        FROM orders_order WHERE user_id BETWEEN %(first)s AND %(last)s AND created_at >= %(since)s
    ) orders
"""
RESULTS = """
    SELECT CASE WHEN failure_code <> '' THEN failure_code ELSE status END, count(*) FROM orders_order
    WHERE user_id BETWEEN %(first)s AND %(last)s AND created_at >= %(since)s GROUP BY 1 ORDER BY 2 DESC
"""


def orders_settled(supplies: Supplies, *, since: object) -> Settlement:
    """Return how the run's orders ended and how long that took."""
    given = {"first": supplies.users.start, "last": supplies.users.stop - 1, "since": since}
    accepted, unsettled, average, points, longest = db.rows(ORDERS, given)[0]
    return Settlement(
        accepted=accepted,
        unsettled=unsettled,
        results={str(result): int(count) for result, count in db.rows(RESULTS, given)},
        measured=accepted - unsettled,
        latency=_latency(average, points, longest),
    )


IN_WINDOWS = """
    SELECT count(o.id) FILTER (WHERE o.settled_at >= w.since AND o.settled_at < w.until),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM o.settled_at - o.created_at) * 1000)
               FILTER (WHERE o.created_at >= w.since AND o.created_at < w.until)
    FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) WITH ORDINALITY AS w (since, until, place)
    LEFT JOIN orders_order o ON o.user_id BETWEEN %(first)s AND %(last)s
        AND (o.settled_at >= w.since AND o.settled_at < w.until OR o.created_at >= w.since AND o.created_at < w.until)
    GROUP BY w.place ORDER BY w.place
"""


def settled_in(supplies: Supplies, windows: list[Window]) -> list[tuple[int, float | None]]:
    """Return for each window how many of the run's orders were settled in it, and the p95 (ms) of those accepted."""
    if not windows:
        return []
    since, until = (list(ends) for ends in zip(*windows, strict=True))
    given = {"first": supplies.users.start, "last": supplies.users.stop - 1, "since": since, "until": until}
    rows = db.rows(IN_WINDOWS, given)
    return [(int(count), None if p95 is None else round(float(p95), 1)) for count, p95 in rows]


COUPONS = """
    SELECT count(ms), avg(ms), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms), max(ms)
    FROM (
        SELECT greatest(0, extract(epoch FROM i.issued_at) * 1000 - seen.at_ms)::float8 AS ms
        FROM unnest(%(ids)s::bigint[], %(times)s::float8[]) AS seen (id, at_ms)
        JOIN coupons_issuance i ON i.id = seen.id
    ) claims
"""
ISSUED = """
    SELECT status, count(*) FROM coupons_issuance
    WHERE user_id BETWEEN %(first)s AND %(last)s AND campaign_id = ANY(%(campaigns)s) GROUP BY 1 ORDER BY 2 DESC
"""


def coupons_settled(supplies: Supplies, *, accepted: int, seen: Mapping[int, int]) -> Settlement:
    """
    Return how the run's claims ended; timed from the customer's 202 for the claims k6 sampled.

    Shapes: seen maps issuance id -> when the customer had the 202.
    Units: seen in milliseconds since 1970, by this machine's clock.
    """
    given = {"ids": list(seen), "times": [float(at_ms) for at_ms in seen.values()]}
    measured, average, points, longest = db.rows(COUPONS, given)[0]
    run = {"first": supplies.users.start, "last": supplies.users.stop - 1, "campaigns": supplies.campaigns}
    rows = db.rows(ISSUED, run)
    results = {str(result): int(count) for result, count in rows}
    return Settlement(
        accepted=accepted,
        unsettled=max(0, accepted - sum(results.values())),
        results=results,
        measured=measured,
        latency=_latency(average, points, longest),
    )


def _latency(average: float | None, points: list[float] | None, longest: float | None) -> Latency:
    if average is None or not points or longest is None:
        return Latency()
    p50, p95, p99 = (round(point, 1) for point in points)
    return Latency(avg=round(average, 1), p50=p50, p95=p95, p99=p99, max=round(longest, 1))
