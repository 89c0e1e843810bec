"""What operators do stands in the trail, in the transaction of its effect, and stays there."""

import pytest
from django.db import IntegrityError
from django.utils import timezone

import balance.flows
import catalog.flows
import coupons.flows
import orders.flows
from balance.models import Transfer
from config.tests.building import (
    assert_sound,
    balance_of,
    everything,
    make_campaign,
    make_operator,
    make_product,
    make_user,
    place,
    settle,
    violated,
)
from shop import db, trail
from shop.errors import NotAllowed
from shop.models import OperatorAction, User

pytestmark = pytest.mark.usefixtures("committed_db")
REASON = "a customer asked"
COLUMNS = ("operator_id", "operator_name", "action", "object_type", "object_id", "amount", "reason", "details")


def adjust(operator_id):
    user_id = make_user(balance=1_000)
    now = timezone.now()
    return lambda: balance.flows.adjust_balance(
        user_id=user_id, amount=-300, reason=REASON, operator_id=operator_id, now=now
    )


def charge(operator_id):
    user_id, now = make_user(), timezone.now()
    return lambda: balance.flows.charge_balance(user_id=user_id, amount=70, key=None, operator_id=operator_id, now=now)


def cancel(operator_id):
    user_id, product_id, now = make_user(balance=5_000), make_product(stock=5), timezone.now()
    order_id = place(user_id, (product_id, 2))
    settle()
    return lambda: orders.flows.cancel_order(
        order_id=order_id, user_id=None, reason=REASON, key=None, operator_id=operator_id, now=now
    )


def restock(operator_id):
    product_id, now = make_product(stock=5), timezone.now()
    return lambda: catalog.flows.restock(
        product_id=product_id, quantity=-2, reason=REASON, operator_id=operator_id, now=now
    )


def close(operator_id):
    campaign_id, now = make_campaign(), timezone.now()
    return lambda: coupons.flows.close_campaign(
        campaign_id=campaign_id, reason=REASON, operator_id=operator_id, now=now
    )


ACTS = {
    adjust: ("balance.adjust", "balance.transfer", -300, REASON, {}),
    charge: ("balance.charge", "balance.transfer", 70, balance.flows.CHARGED_FOR, {}),
    cancel: ("orders.cancel", "orders.order", 2_000, REASON, {}),
    restock: ("catalog.restock", "catalog.product", None, REASON, {"quantity": -2}),
    close: ("coupons.close", "coupons.campaign", None, REASON, {}),
}
every_act = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)


@every_act
def test_an_act_is_written_down_with_its_operator_object_amount_and_reason(act):
    operator_id = make_operator()
    act(operator_id)()
    action, object_type, amount, reason, details = ACTS[act]
    [row] = OperatorAction.objects.values(*COLUMNS)
    assert row.pop("object_id") > 0
    assert row == {
        "operator_id": operator_id,
        "operator_name": User.objects.get(pk=operator_id).username,
        "action": action,
        "object_type": object_type,
        "amount": amount,
        "reason": reason,
        "details": details,
    }
    assert_sound()


@every_act
@pytest.mark.parametrize("loss", [{"is_active": False}, {"is_staff": False}], ids=["disabled", "no staff"])
def test_who_is_no_operator_any_more_changes_nothing(act, loss):
    operator_id = make_operator()
    do = act(operator_id)
    User.objects.filter(pk=operator_id).update(**loss)
    before = everything()
    with pytest.raises(NotAllowed):
        do()
    assert everything() == before


@every_act
def test_an_effect_that_fails_after_it_leaves_no_row(act, monkeypatch):
    do = act(make_operator())
    before = everything()
    record = trail.record

    def record_and_die(*args, **kwargs):
        record(*args, **kwargs)
        raise ZeroDivisionError

    monkeypatch.setattr(trail, "record", record_and_die)
    with pytest.raises(ZeroDivisionError):
        do()
    assert everything() == before


def test_control_an_adjustment_without_its_row_is_named(monkeypatch):
    monkeypatch.setattr(trail, "record", lambda *_, **__: None)
    adjust(make_operator())()
    assert violated() == {"M7"}


def test_rows_can_neither_be_changed_nor_deleted():
    adjust(make_operator())()
    before = list(OperatorAction.objects.values())
    with pytest.raises(IntegrityError, match="UPDATE refused"):
        OperatorAction.objects.update(reason="another one")
    with pytest.raises(IntegrityError, match="DELETE refused"):
        OperatorAction.objects.all().delete()
    assert list(OperatorAction.objects.values()) == before


def test_an_act_without_a_reason_is_refused_by_the_table():
    operator_id, user_id = make_operator(), make_user(balance=1_000)
    with pytest.raises(IntegrityError) as refused:
        balance.flows.adjust_balance(user_id=user_id, amount=5, reason="", operator_id=operator_id, now=timezone.now())
    assert db.violated_constraint(refused.value) == "operator_action_has_reason"
    assert (balance_of(user_id), Transfer.objects.filter(kind="adjustment").count()) == (1_000, 0)


def test_what_customers_do_themselves_is_no_operators_act():
    user_id, product_id = make_user(balance=5_000), make_product(stock=5)
    order_id = place(user_id, (product_id, 1))
    settle()
    orders.flows.cancel_order(order_id=order_id, user_id=user_id, reason="", key=None, now=timezone.now())
    assert OperatorAction.objects.count() == 0
