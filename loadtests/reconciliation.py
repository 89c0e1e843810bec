"""
k6's counts = the server's counts = the database's rows, line by line.

A request without an answer (or with a fault in the middle) may have taken effect: such `unknown` requests widen what is
allowed. What was acknowledged and is not there is `lost`; any other disagreement makes the figures worthless.
"""

from loadtests.ledgers import Ledger
from loadtests.results import Endpoint, Line, Settlement

ACKNOWLEDGED = {"order": ("202", "orders"), "coupon": ("202", "coupons"), "charge": ("200", "charges")}
"""Endpoint -> the status that promises a row, and which rows."""


def reconcile(*, endpoints: list[Endpoint], charged: int, added: Ledger, orders: Settlement | None) -> list[Line]:
    """Return every line; `charged` is the money k6 saw acknowledged, `added` what server and database gained."""
    lines = []
    for endpoint in endpoints:
        if endpoint.name != "all":
            lines += _answers(endpoint, added) + _rows(endpoint, added)
    for endpoint in endpoints:
        if endpoint.name == "charge":
            there, any_more = added.rows["charged"], endpoint.unknown > 0
            lines.append(_line("charged_amount", "charge", k6=charged, database=there, any_more=any_more))
    if orders is not None and orders.accepted:
        lines.append(settled_line(orders))
    return lines


def _answers(endpoint: Endpoint, added: Ledger) -> list[Line]:
    """Compare k6 and server per status; the server may have answered what k6 no longer waited for."""
    if added.server is None:
        return []
    server = {status: count for (name, status), count in added.server.items() if name == endpoint.name}
    silent = endpoint.statuses.get("0", 0)
    lines = []
    for status in sorted({*endpoint.statuses, *server} - {"0"}):
        k6, counted = endpoint.statuses.get(status, 0), server.get(status, 0)
        # What is shed at the door may leave before anybody counts it.
        agrees = (k6 <= counted or status == "503") and counted <= k6 + silent
        state = "agrees" if agrees else "differs"
        subject = f"{endpoint.name} {status}"
        lines.append(Line(fact="answers", subject=subject, k6=k6, server=counted, unknown=silent, state=state))
    return lines


def _rows(endpoint: Endpoint, added: Ledger) -> list[Line]:
    if endpoint.name not in ACKNOWLEDGED:
        return []
    status, rows = ACKNOWLEDGED[endpoint.name]
    acknowledged = endpoint.statuses.get(status, 0)
    return [_line("rows", endpoint.name, k6=acknowledged, database=added.rows[rows], unknown=endpoint.unknown)]


def _line(fact: str, subject: str, *, k6: int, database: int, unknown: int = 0, any_more: bool = False) -> Line:
    """Compare what was acknowledged with what is there; `any_more`: an unknown number may be there besides."""
    state = "agrees"
    if database < k6:
        state = "lost"
    elif database > k6 + unknown and not any_more:
        state = "differs"
    return Line(fact=fact, subject=subject, k6=k6, database=database, unknown=unknown, state=state)


def settled_line(orders: Settlement) -> Line:
    """Compare accepted orders with those that reached an end."""
    settled = orders.accepted - orders.unsettled
    state = "lost" if orders.unsettled else "agrees"
    return Line(fact="settled", subject="order", k6=orders.accepted, database=settled, state=state)
