"""What holds for every stage of the order pipeline: any batch size, any repetition, a constant number of statements."""

from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from balance.models import Transfer
from catalog.models import DailySales, StockMovement
from config.tests.building import (
    assert_sound,
    balance_of,
    coupon_of,
    everything,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
    statuses,
    stock_of,
)
from coupons.models import Campaign
from orders import flows, operations, queries
from orders.models import Order, OrderHistory
from orders.states import EDGES, Status, sources
from orders.tasks import REDEEM_COUPONS, RELEASE, RESERVE_STOCK, STAGES, TAKE_PAYMENTS
from shop import db, pipeline

pytestmark = pytest.mark.usefixtures("committed_db")
PATH = (RESERVE_STOCK, REDEEM_COUPONS, TAKE_PAYMENTS)


def make_mixed_orders():
    """Return orders of every fate: paid with and without coupon, and failed for each reason."""
    rich, poor = make_user(balance=20_000), make_user(balance=900)
    hot, cold = make_product(stock=4, price=1_000), make_product(stock=100, price=100)
    coupon, dear_coupon = coupon_of(rich), coupon_of(rich, min_order_amount=5_000)
    return [
        place(rich, (hot, 2), issuance_id=coupon),  # paid, 1,500
        place(poor, (hot, 1)),  # reserves the third piece, cannot pay, gives it back
        place(rich, (hot, 2)),  # does not fit while the third piece is held
        place(rich, (cold, 5), (hot, 1)),  # the fourth piece
        place(rich, (cold, 1), issuance_id=coupon),  # the coupon went to the first order
        place(rich, (cold, 2), issuance_id=dear_coupon),  # below the lowest amount
        place(poor, (cold, 9)),  # 900: all there is
        place(poor, (cold, 1)),
    ]


FATES = [
    "paid",
    "insufficient_balance",
    "out_of_stock",
    "paid",
    "issuance_not_usable",
    "issuance_not_usable",
    "paid",
    "insufficient_balance",
]


def run_to_the_end(limit):
    for stage in (RESERVE_STOCK, REDEEM_COUPONS, TAKE_PAYMENTS, RELEASE):
        while run(stage, limit=limit):
            pass


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_any_batch_size_ends_the_same(limit):
    order_ids = make_mixed_orders()
    run_to_the_end(limit)
    assert statuses(order_ids) == FATES
    assert list(Order.objects.order_by("pk").values_list("total", flat=True)) == [
        1_500,
        1_000,
        2_000,
        1_500,
        100,
        200,
        900,
        100,
    ]
    assert sorted(Transfer.objects.filter(kind="payment").values_list("order_id", "amount")) == [
        (order_ids[0], 1_500),
        (order_ids[3], 1_500),
        (order_ids[6], 900),
    ]
    assert_sound()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_empty_batch_changes_nothing(stage):
    make_user(balance=10)
    before = everything()
    assert run(stage) == []
    assert everything() == before


STEPS = ["pending", "stock_reserved", "coupon_applied", "paid"]


@pytest.mark.parametrize(
    ("has_coupon", "taken", "seen"),
    [(True, [1, 1, 1], STEPS), (False, [1, 0, 1], ["pending", "coupon_applied", "coupon_applied", "paid"])],
    ids=["with a coupon", "without"],
)
def test_batch_of_one_goes_all_the_way_and_each_step_is_written(has_coupon, taken, seen):
    user_id, product_id = make_user(balance=5_000), make_product(stock=10, price=700)
    order_id = place(
        user_id, (product_id, 3), issuance_id=coupon_of(user_id, discount_value=100) if has_coupon else None
    )
    statuses_seen, orders_taken = [status(order_id)], []
    for stage in PATH:
        orders_taken.append(len(run(stage)))
        statuses_seen.append(status(order_id))
    assert (statuses_seen, orders_taken) == (seen, taken)
    assert list(OrderHistory.objects.order_by("pk").values_list("status", flat=True)) == STEPS
    assert (stock_of(product_id), balance_of(user_id)) == (7, 3_000 if has_coupon else 2_900)
    sales = DailySales.objects.get()
    assert (sales.product_id, sales.units, sales.revenue) == (product_id, 3, 2_100)
    assert_sound()


def test_order_passes_no_earlier_one_of_the_same_user_that_has_a_coupon():
    """The two share a wallet that holds enough for one: first come, first served."""
    user_id, other_id, product_id = (
        make_user(balance=1_000),
        make_user(balance=1_000),
        make_product(stock=9, price=1_000),
    )
    first = place(user_id, (product_id, 1), issuance_id=coupon_of(user_id, discount_value=100))
    run(RESERVE_STOCK)
    later = [place(user_id, (product_id, 1)), place(other_id, (product_id, 1))]
    same_batch = [place(other_id, (product_id, 1), issuance_id=coupon_of(other_id)), place(other_id, (product_id, 1))]
    run(RESERVE_STOCK, TAKE_PAYMENTS)
    assert statuses([first, *later, *same_batch]) == [
        "stock_reserved",
        "stock_reserved",
        "paid",
        "stock_reserved",
        "stock_reserved",
    ]
    settle()
    assert statuses([first, *later]) == ["paid", "insufficient_balance", "paid"]
    assert_sound()


def test_without_that_look_at_redemption_the_later_order_takes_the_money(monkeypatch):
    """Negative control of the test above."""
    monkeypatch.setattr(queries, "users_at_redemption", lambda user_ids: [])
    user_id, product_id = make_user(balance=1_000), make_product(stock=9, price=1_000)
    first = place(user_id, (product_id, 1), issuance_id=coupon_of(user_id, discount_value=100))
    run(RESERVE_STOCK)
    later = place(user_id, (product_id, 1))
    run(RESERVE_STOCK, TAKE_PAYMENTS)
    settle()
    assert statuses([first, later]) == ["insufficient_balance", "paid"]


def test_advance_passes_through_real_edges_only():
    order_id = place(make_user(), (make_product(), 1))
    with pytest.raises(RuntimeError, match="no order goes from pending to paid"):
        in_transaction(
            partial(operations.advance, [order_id], to=Status.PAID, through=Status.PENDING, now=timezone.now())
        )


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_repeated_takes_nothing_and_changes_nothing(stage):
    make_mixed_orders()
    for earlier in STAGES[: STAGES.index(stage) + 1]:
        run(earlier)
    before = everything()
    assert run(stage) == []
    assert everything() == before


def test_stages_out_of_order_and_doubled_end_the_same():
    order_ids = make_mixed_orders()
    for stage in (RELEASE, TAKE_PAYMENTS, REDEEM_COUPONS, RESERVE_STOCK, RESERVE_STOCK, TAKE_PAYMENTS):
        run(stage)
    for stage in (REDEEM_COUPONS, RELEASE, TAKE_PAYMENTS, RELEASE, REDEEM_COUPONS, TAKE_PAYMENTS, RELEASE):
        run(stage)
    assert statuses(order_ids) == FATES
    assert_sound()


def count_statements(stage):
    with CaptureQueriesContext(connection) as captured:
        taken = run(stage)
    return len(taken), len(captured)


def statements_for(count):
    """Return (orders, statements) of each stage for `count` orders that are paid and as many that fail."""
    rich, poor = make_user(balance=10_000_000), make_user()
    products = [make_product(stock=10_000, price=1_000) for _ in range(3)]
    for _ in range(count):
        place(rich, *((product_id, 1) for product_id in products), issuance_id=coupon_of(rich))
        place(poor, (products[0], 1), issuance_id=coupon_of(poor))
    return [count_statements(stage) for stage in (RESERVE_STOCK, REDEEM_COUPONS, TAKE_PAYMENTS, RELEASE)]


def test_statements_of_a_batch_do_not_grow_with_its_orders():
    one, fifty = statements_for(1), statements_for(50)
    assert [orders for orders, _ in one] == [2, 2, 2, 1]
    assert [orders for orders, _ in fifty] == [100, 100, 100, 50]
    assert [statements for _, statements in one] == [statements for _, statements in fifty]
    assert max(statements for _, statements in fifty) <= 12


@pytest.mark.parametrize(
    ("coupons", "expected"),
    [
        (0, {"reserve_stock": 7, "redeem_coupons": 2, "take_payments": 8}),
        (1, {"reserve_stock": 7, "redeem_coupons": 6}),
    ],
)
def test_a_batch_takes_the_statements_that_architecture_md_says(coupons, expected):
    user_id, product_id = make_user(balance=10_000), make_product(stock=10)
    for _ in range(3):
        place(user_id, (product_id, 1), issuance_id=coupon_of(user_id) if coupons else None)
    counted = {stage.name.partition(".")[2]: count_statements(stage)[1] - len(("BEGIN", "COMMIT")) for stage in PATH}
    assert {name: counted[name] for name in expected} == expected


def test_skipped_orders_are_left_alone():
    user_id, product_id = make_user(balance=100_000), make_product(stock=10)
    order_ids = [place(user_id, (product_id, 1)) for _ in range(3)]
    claim = pipeline.Claim(limit=500, skip=[order_ids[1]])
    flows.reserve_stock(claim=claim, now=timezone.now())
    assert claim.taken == [order_ids[0], order_ids[2]]
    assert statuses(order_ids) == ["coupon_applied", "pending", "coupon_applied"]


def test_stages_have_the_order_they_would_claim_first():
    order_ids = make_mixed_orders()
    assert RESERVE_STOCK.first_waiting(skip=[]) == order_ids[0]
    assert RESERVE_STOCK.first_waiting(skip=order_ids[:2]) == order_ids[2]
    assert RELEASE.first_waiting(skip=[]) is None
    run(RESERVE_STOCK)
    assert RESERVE_STOCK.first_waiting(skip=[]) is None
    assert REDEEM_COUPONS.first_waiting(skip=[]) == order_ids[0]
    run(REDEEM_COUPONS)
    assert RELEASE.first_waiting(skip=[]) == order_ids[4]


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", list(Status))
def test_advance_walks_no_edge_that_does_not_exist(to):
    user_id, product_id = make_user(), make_product()
    wrong = [state for state in Status if state not in sources(to)]
    for state in wrong:
        order_id = place(user_id, (product_id, 1))
        settled = timezone.now() if not EDGES[state] or state == Status.PAID else None
        code = "out_of_stock" if state == Status.FAILED else ""
        Order.objects.filter(pk=order_id).update(status=state, settled_at=settled, failure_code=code)
        before = everything()
        with pytest.raises(RuntimeError, match="1 of 1 orders cannot become"):
            in_transaction(partial(operations.advance, [order_id], to=to, now=timezone.now()))
        assert everything() == before
    assert wrong


def in_transaction(call):
    with db.transaction():
        return call()


def test_operations_refuse_to_run_without_a_transaction():
    for call in (
        partial(operations.claim_orders, "orders.reserve_stock", Status.PENDING, pipeline.Claim(limit=1)),
        partial(operations.advance, [1], to=Status.PAID, now=timezone.now()),
        partial(pipeline.lock_stage, "orders.reserve_stock"),
    ):
        with pytest.raises(db.TransactionMissing):
            call()


def test_settled_orders_leave_no_trace_of_a_refusal():
    make_mixed_orders()
    settle()
    assert set(Order.objects.values_list("refusal", flat=True)) == {""}
    assert Campaign.objects.count() == 2
    assert StockMovement.objects.filter(kind="release").count() == 4
