"""Every named point of the order, cancel, charge and coupon flows: what ends there is neither lost nor done twice."""

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from config import env
from config.tests import crash_code, crash_report, crash_scenarios
from config.tests.client import Client, Contract
from config.tests.crash_points import FLOWS, IN_THE_ADMIN_ONLY, POINTS, Kind, Point
from config.tests.crashing import Crash, CrashableShop, crash_request, crash_work
from coupons.flows import RECORD_CLAIMS
from orders.flows import RESERVE_STOCK
from shop.testing import empty_shop
from shop.testing_shop import run_manage, start_shop

pytestmark = pytest.mark.xdist_group("crashes")  # one shop for all of them
REQUESTS = {
    "orders.place_order": crash_scenarios.place,
    "orders.cancel_order": crash_scenarios.cancel,
    "balance.charge_balance": crash_scenarios.charge_by_staff,
    "coupons.claim_under_row_lock": crash_scenarios.claim_past_the_gate,
}
PLACED = "coupons.claim_coupon.placed"
UNNAMED = {
    **dict.fromkeys(("adjust_balance", "save_campaign", "close_campaign", "refresh_gate"), "operators see the result"),
    "expire_issuances": "the clock repeats it",
}
"""Flows of these rooms without points."""


@pytest.fixture(scope="module")
def shop(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashableShop]:
    points = tmp_path_factory.mktemp("points")
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    with django_db_blocker.unblock():
        empty_shop()
        running = start_shop(
            tmp_path_factory.mktemp("crashes") / "shop",
            DATABASE_URL=database.geturl(),
            REDIS_URL=os.environ["REDIS_URL"],
            SHOP_JWT_KEY=os.environ["SHOP_JWT_KEY"],
            SHOP_TESTING="true",
            SHOP_FAILPOINTS=str(points),
        )
        client = Client(running.base_url, Contract())
        try:
            yield CrashableShop(client, points)
        finally:
            client.close()
            running.stop()
            empty_shop()


def crash(shop: CrashableShop, flow: str, actions: Mapping[str, str]) -> Crash:
    """Put a flow to work and end it at the first of the points."""
    if flow == RECORD_CLAIMS:
        return crash_work(shop, actions, RECORD_CLAIMS, crash_scenarios.claims_at_the_gate(shop))
    if any(named.name == flow and named.kind is Kind.STAGE for named in FLOWS):
        return crash_work(shop, actions, RESERVE_STOCK, crash_scenarios.orders_of_every_fate(shop))
    scenario = REQUESTS.get(flow, crash_scenarios.claim)
    return crash_request(shop, actions, scenario(shop))


@pytest.mark.parametrize("action", ["kill", pytest.param("raise", marks=pytest.mark.crash_matrix)])
@pytest.mark.parametrize("point", POINTS.values(), ids=list(POINTS))
def test_what_ends_at_a_point_goes_on(shop: CrashableShop, point: Point, action: str) -> None:
    actions = {point.name: action}
    if point.flow.name == "coupons.suspend_claim":
        actions[PLACED] = "raise"  # only an error leads there
    assert crash(shop, point.flow.name, actions) == Crash(point.outcome(action), [])


# --- what shows that this can fail ----------------------------------------------------------------------------------

SPLITS = {
    "balance.charge_balance": ("remember", "before_commit"),
    "orders.place_order": ("remember", "before_commit"),
    "orders.cancel_order": ("give_stock_back", "withdraw_sales"),
    "orders.reserve_stock": ("advance", "before_commit"),
    "orders.redeem_coupons": ("apply_discounts", "advance"),
    "orders.take_payments": ("advance", "record_sales"),
    "orders.release": ("fail", "before_commit"),
}
"""Flow -> where it commits what it has done so far, and where it is killed then."""


@pytest.fixture
def damaged(shop: CrashableShop, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrashableShop]:
    """The same shop, impatient, and emptied afterwards."""
    monkeypatch.setattr(shop, "settle_seconds", 1.5)
    monkeypatch.setattr(shop, "pass_seconds", 0.5)
    yield shop
    empty_shop()


@pytest.mark.parametrize("flow", SPLITS)
def test_control_a_flow_split_in_two_commits_is_found(damaged: CrashableShop, flow: str) -> None:
    commits, dies = (f"{flow}.{step}" for step in SPLITS[flow])
    assert crash(damaged, flow, {dies: "kill", commits: "commit"}).findings


@pytest.mark.parametrize("flow", ["balance.charge_balance", "orders.take_payments"])
def test_control_a_point_nobody_passes_is_found(damaged: CrashableShop, flow: str) -> None:
    with pytest.raises(AssertionError, match="nobody passes"):
        crash(damaged, flow, {f"{flow}.no_such_step": "kill"})


def test_control_a_point_that_is_not_listed_is_found(damaged: CrashableShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(POINTS, "balance.charge_balance.remember")
    found = crash(damaged, "balance.charge_balance", {"balance.charge_balance.charge": "kill"}).findings
    assert found == ["balance.charge_balance.remember is not in the list of points"]


# --- outside tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"SHOP_TESTING": "false"}, {"SHOP_ALLOWED_HOSTS": "127.0.0.1,shop.example"}], ids=["no test", "public"]
)
def test_points_are_refused_outside_tests(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]) -> None:
    for name, value in {"SHOP_FAILPOINTS": "orders.release.fail=kill", "SHOP_TESTING": "true"}.items():
        monkeypatch.setenv(name, value)
    assert env.failpoints() == "orders.release.fail=kill"
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(env.BadEnvironment, match="SHOP_FAILPOINTS kills processes on purpose"):
        env.failpoints()
    monkeypatch.delenv("SHOP_FAILPOINTS")
    assert env.failpoints() == ""


def test_nothing_starts_with_points_outside_tests(tmp_path: Path) -> None:
    done = run_manage("up", data_dir=tmp_path / "shop", SHOP_FAILPOINTS="orders.release.fail=kill")
    assert done.returncode == 2
    assert "SHOP_FAILPOINTS kills processes on purpose" in done.stderr
    assert "Traceback" not in done.stderr


# --- the list, the code and the document ----------------------------------------------------------------------------


def test_code_and_list_name_the_same_points() -> None:
    listed = {(flow.name, step) for flow in FLOWS for step in flow.steps}
    in_code = {(flow, step) for flow, step in crash_code.points() if flow}
    assert in_code - IN_THE_ADMIN_ONLY == listed
    assert in_code >= IN_THE_ADMIN_ONLY


def test_every_other_transaction_of_these_rooms_has_a_reason_to_be_unnamed() -> None:
    assert {function for flow, function in crash_code.points() if not flow} == set(UNNAMED)


def test_points_are_read_from_code() -> None:
    text = """
        def pay():
            with db.transaction(PAY, [1]), idempotency.once(key) as slot:
                wallets = balance.lock_wallets()
                _debit(wallets)
                slot.refuse(error)
            failpoints.hit("orders.pay.told")

        def _debit(wallets):
            balance.record_payments(wallets)

        def once():
            remember()

        def forgotten():
            with db.transaction():
                pass
    """
    tree, names = ast.parse(dedent(text)), {"record_payments", "remember", "refuse"}
    assert sorted(crash_code.points_in(tree, {"PAY": "orders.pay"}, names, [])) == [
        ("", "forgotten"),
        *(
            ("orders.pay", step)
            for step in ("after_commit", "announced", "before_commit", "begun", "record_payments", "remember", "told")
        ),
    ]


@pytest.mark.parametrize("file", crash_report.PAGES, ids=lambda file: file.name)
def test_document_says_what_is_tested(file: Path) -> None:
    assert file.read_text() == crash_report.text_of(crash_report.PAGES[file]), "make crash-points"
