"""Claiming at the gate: who gets in, which position, what every refusal says, and what a repeated key answers."""

from datetime import timedelta
from unittest import mock

import pytest
import redis
from django.utils import timezone

from config.tests.building import (
    assert_sound,
    claim,
    everything,
    issued,
    make_campaign,
    make_key,
    make_user,
    run,
    settle,
)
from coupons import flows, gate, places
from coupons.errors import CouponAlreadyIssued, CouponClosed, CouponNotFound, CouponNotOpen, CouponSoldOut
from coupons.flows import Claimed
from coupons.models import Campaign, Issuance
from coupons.tasks import RECORD_CLAIMS
from shop import connections, wakeups
from shop.errors import DependencyUnavailable, IdempotencyKeyInFlight, IdempotencyKeyReused
from shop.models import IdempotencyRecord
from shop.testing import Running, dead_server, holding, race, redis_at, wait_until

pytestmark = pytest.mark.usefixtures("committed_db")
HOUR = timedelta(hours=1)


@pytest.fixture(params=["at the gate", "under the row lock"])
def way(request, committed_db):
    """Both ways in obey the same rules."""
    if request.param == "at the gate":
        yield
    else:
        with redis_at("gate", dead_server()):
            yield


def keyed(user_id, campaign_id, *, body=""):
    key = make_key(user_id, body=body)
    return flows.claim_coupon(user_id=user_id, campaign_id=campaign_id, key=key, now=timezone.now())


def is_alive(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def gate_state():
    """Return what Redis knows, to see that a refusal changed nothing."""
    client = connections.gate()
    if not is_alive(client):
        return {}
    return {key: client.hgetall(key) for key in sorted(client.keys("gate:*")) if client.type(key) == b"hash"}


@pytest.mark.usefixtures("way")
def test_users_get_positions_in_the_order_they_come():
    campaign_id = make_campaign(total=3)
    users = [make_user() for _ in range(3)]
    claimed = [claim(user_id, campaign_id) for user_id in users]
    assert [(one.coupon_id, one.position) for one in claimed] == [(campaign_id, place) for place in (1, 2, 3)]
    assert len({one.issuance_id for one in claimed}) == 3


@pytest.mark.usefixtures("way")
def test_refusals_name_what_is_wrong_and_change_nothing():
    user_id, other, now = make_user(), make_user(), timezone.now()
    full = make_campaign(total=1)
    early = make_campaign(opens_at=now + HOUR, closes_at=now + 2 * HOUR)
    late = make_campaign(opens_at=now - 2 * HOUR, closes_at=now - HOUR)
    held = claim(user_id, full)
    for campaign_id in (early, late):  # build their gates, so that nothing is left to change
        with pytest.raises((CouponNotOpen, CouponClosed)):
            claim(other, campaign_id)
    before = (everything(), gate_state())

    with pytest.raises(CouponAlreadyIssued) as already:
        claim(user_id, full)
    with pytest.raises(CouponSoldOut):
        claim(other, full)
    with pytest.raises(CouponNotOpen) as not_open:
        claim(user_id, early)
    with pytest.raises(CouponClosed):
        claim(user_id, late)
    with pytest.raises(CouponNotFound):
        claim(user_id, 987_654)
    assert already.value.facts() == {"issuance_id": held.issuance_id}
    assert abs(not_open.value.opens_at - (now + HOUR)) < timedelta(milliseconds=1)
    assert (everything(), gate_state()) == before


@pytest.mark.usefixtures("way")
def test_holder_of_a_sold_out_campaign_hears_already_and_not_sold_out():
    user_id, campaign_id = make_user(), make_campaign(total=1)
    held = claim(user_id, campaign_id)
    for _ in range(2):
        with pytest.raises(CouponAlreadyIssued) as refusal:
            claim(user_id, campaign_id)
        assert refusal.value.issuance_id == held.issuance_id


def test_usual_claim_touches_no_table():
    campaign_id = make_campaign()
    claim(make_user(), campaign_id)
    user_id = make_user()
    before = everything()
    claim(user_id, campaign_id)
    assert everything() == before


def test_claim_wakes_the_recorder_and_is_recorded_with_its_promised_place():
    user_id, campaign_id = make_user(), make_campaign()
    claimed = claim(user_id, campaign_id)
    wait_until(lambda: wakeups.is_flag_set(flows.RECORD_CLAIMS))
    run(RECORD_CLAIMS)
    issuance = Issuance.objects.get()
    assert (issuance.pk, issuance.position, issuance.user_id) == (claimed.issuance_id, 1, user_id)
    assert issuance.expires_at - issuance.issued_at == timedelta(days=30)
    assert_sound()


def test_users_of_a_gate_expire_with_it():
    """A gate that opens for nobody has no users to expire yet: the first claim sees to it."""
    fresh, rebuilt = make_campaign(), make_campaign()
    claim(make_user(), rebuilt)
    settle()
    gate.demolish(rebuilt)
    for campaign_id in (fresh, rebuilt):
        claim(make_user(), campaign_id)
        ends = [connections.gate().pexpiretime(key(campaign_id)) for key in (gate.gate_key, gate.users_key)]
        assert ends[0] == ends[1] > 0


def test_claim_stays_pending_though_its_campaign_closes_before_it_is_recorded():
    user_id, campaign_id, now = make_user(), make_campaign(), timezone.now()
    claimed = claim(user_id, campaign_id)
    Campaign.objects.update(closes_at=now - HOUR)
    shown = places.list_issuances(user_id=user_id, status="pending", size=10, position=None, now=now).rows
    assert [row["issuance_id"] for row in shown] == [claimed.issuance_id]


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_same_key_answers_the_same_place():
    user_id, campaign_id = make_user(), make_campaign()
    first = keyed(user_id, campaign_id)
    assert keyed(user_id, campaign_id) == first
    with pytest.raises(IdempotencyKeyReused):
        keyed(user_id, campaign_id, body="another")
    with pytest.raises(CouponAlreadyIssued):
        claim(user_id, campaign_id)


@pytest.mark.usefixtures("way")
def test_refusal_is_remembered_with_its_key():
    campaign_id, user_id = make_campaign(total=1), make_user()
    claim(make_user(), campaign_id)
    with pytest.raises(CouponSoldOut):
        keyed(user_id, campaign_id)
    flows.save_campaign(campaign_id=campaign_id, values={"total_quantity": 2})
    with pytest.raises(CouponSoldOut):
        keyed(user_id, campaign_id)
    assert claim(user_id, campaign_id).position == 2


def test_key_is_in_flight_while_the_first_request_is_at_the_gate():
    user_id, campaign_id = make_user(), make_campaign()
    with holding("coupons.gate.claim") as holder:
        first = Running(lambda: keyed(user_id, campaign_id))
        holder.wait()
        with pytest.raises(IdempotencyKeyInFlight):
            keyed(user_id, campaign_id)
        with pytest.raises(IdempotencyKeyReused):
            keyed(user_id, campaign_id, body="another")
        holder.let_go()
        assert first.outcome().position == 1
    assert keyed(user_id, campaign_id).position == 1


class Killed(BaseException):
    """The process ends here."""


def forget_ten_seconds():
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(seconds=11))


def test_request_that_died_after_the_gate_let_it_in_finds_its_place_again(monkeypatch):
    user_id, campaign_id = make_user(), make_campaign()

    with monkeypatch.context() as patched:
        real = gate.claim

        def die(**asked):
            if real(**asked).outcome == "placed":
                raise Killed

        patched.setattr(gate, "claim", lambda **asked: die(**asked) or gate.Answer("rebuild"))
        with pytest.raises(Killed):
            keyed(user_id, campaign_id)
    with pytest.raises(IdempotencyKeyInFlight):
        keyed(user_id, campaign_id)
    forget_ten_seconds()
    assert keyed(user_id, campaign_id).position == 1
    settle()
    assert issued(campaign_id) == 1
    assert_sound()


def test_request_that_died_under_the_row_lock_finds_its_place_while_redis_is_still_away(monkeypatch):
    user_id, campaign_id = make_user(), make_campaign()
    with redis_at("gate", dead_server()):
        with monkeypatch.context() as patched:
            patched.setattr("shop.idempotency.remember", mock.Mock(side_effect=Killed))
            with pytest.raises(Killed):
                keyed(user_id, campaign_id)
        forget_ten_seconds()
        assert keyed(user_id, campaign_id).position == 1
    assert issued(campaign_id) == 1


def test_request_that_failed_is_not_remembered_and_its_key_may_bring_another_one(monkeypatch):
    user_id, first, second = make_user(), make_campaign(), make_campaign()
    with monkeypatch.context() as patched:
        patched.setattr(flows, "_claim", mock.Mock(side_effect=DependencyUnavailable))
        with pytest.raises(DependencyUnavailable):
            keyed(user_id, first, body="first")
    assert keyed(user_id, second, body="second").coupon_id == second
    with pytest.raises(IdempotencyKeyReused):
        keyed(user_id, first, body="first")


def test_request_that_failed_may_be_repeated_at_once(monkeypatch):
    user_id, campaign_id = make_user(), make_campaign()
    with monkeypatch.context() as patched:
        patched.setattr(flows, "_claim", lambda **_: (_ for _ in ()).throw(DependencyUnavailable()))
        with pytest.raises(DependencyUnavailable):
            keyed(user_id, campaign_id)
    assert keyed(user_id, campaign_id) == keyed(user_id, campaign_id)
    assert (IdempotencyRecord.objects.count(), IdempotencyRecord.objects.get().status) == (1, 200)


def test_one_key_forty_times_at_once_takes_one_place():
    user_id, campaign_id = make_user(), make_campaign()
    outcomes = race(*[lambda: keyed(user_id, campaign_id)] * 40)
    assert {type(outcome) for outcome in outcomes} <= {Claimed, IdempotencyKeyInFlight}
    assert len({outcome for outcome in outcomes if isinstance(outcome, Claimed)}) == 1
    settle()
    assert issued(campaign_id) == 1
    assert_sound()
