"""k6 = server = database, line by line, and the rows a client cannot know about."""

from loadtests.ledgers import Ledger, counts_in, difference
from loadtests.reconciliation import reconcile
from loadtests.results import Endpoint, Line

ROWS = {"orders": 0, "coupons": 0, "charges": 0, "charged": 0}


def order(**statuses: int) -> Endpoint:
    named = {status.removeprefix("s"): count for status, count in statuses.items()}
    return Endpoint(name="order", requests=sum(named.values()), outcomes={}, statuses=named)


def states(endpoint: Endpoint, *, server: dict[str, int], orders: int) -> list[str]:
    counted = {(endpoint.name, status): count for status, count in server.items()}
    added = Ledger(server=counted, rows=ROWS | {"orders": orders})
    lines = reconcile(endpoints=[endpoint], charged=0, added=added, orders=None)
    return [f"{line.fact} {line.subject} {line.state}" for line in lines]


def test_three_equal_counts_agree() -> None:
    assert states(order(s202=10), server={"202": 10}, orders=10) == ["answers order 202 agrees", "rows order agrees"]


def test_a_missing_row_is_lost_and_a_surplus_differs() -> None:
    assert states(order(s202=10), server={"202": 10}, orders=9)[1] == "rows order lost"
    assert states(order(s202=10), server={"202": 10}, orders=11)[1] == "rows order differs"


def test_requests_without_an_answer_may_have_taken_effect() -> None:
    silent = order(s202=10, s0=2)
    assert states(silent, server={"202": 12}, orders=12) == ["answers order 202 agrees", "rows order agrees"]
    assert states(silent, server={"202": 13}, orders=13) == ["answers order 202 differs", "rows order differs"]


def test_somebody_elses_requests_show() -> None:
    assert states(order(s202=10), server={"202": 10, "409": 1}, orders=10)[1] == "answers order 409 differs"


def test_what_is_shed_at_the_door_need_not_be_counted_behind_it() -> None:
    assert states(order(s503=5), server={}, orders=0)[0] == "answers order 503 agrees"


def test_money_is_compared_too() -> None:
    charge = Endpoint(name="charge", requests=2, outcomes={}, statuses={"200": 2})
    added = Ledger(server=None, rows=ROWS | {"charges": 2, "charged": 2_999})
    lines = reconcile(endpoints=[charge], charged=3_000, added=added, orders=None)
    assert lines[1] == Line(fact="charged_amount", subject="charge", k6=3_000, database=2_999, state="lost")


def test_the_exporters_text_is_counted_by_endpoint_whatever_the_routes_converters_are_called() -> None:
    text = """
# TYPE shop_request_seconds histogram
shop_request_seconds_bucket{le="0.1",method="GET",route="products",status="200"} 5.0
shop_request_seconds_count{method="GET",route="products",status="200"} 7.0
shop_request_seconds_count{method="GET",route="products/<id64:product_id>",status="200"} 3.0
shop_request_seconds_count{method="GET",route="readyz",status="200"} 9.0
shop_request_seconds_count{method="POST",route="orders",status="503"} 2.0
"""
    before, after = Ledger(server={("list", "200"): 4}), Ledger(server=counts_in(text))
    assert difference(before, after).server == {("list", "200"): 3, ("detail", "200"): 3, ("order", "503"): 2}
