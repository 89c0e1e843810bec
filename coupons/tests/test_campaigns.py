"""Campaigns as the operator changes them: the gate follows every edit, and what was promised stays."""

from datetime import timedelta

import pytest
from django.utils import timezone

from config.tests.building import assert_sound, claim, coupon_of, everything, issued, make_campaign, make_user, settle
from coupons import flows, gate, queries, tasks
from coupons.errors import (
    CouponClosed,
    CouponNotFound,
    CouponNotOpen,
    CouponSoldOut,
    QuantityTooLow,
    TermsContradict,
    TermsFrozen,
)
from coupons.models import Campaign, Issuance
from shop import connections
from shop.testing import Running, dead_server, holding, redis_at, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")
HOUR = timedelta(hours=1)


def save(campaign_id, **values):
    return flows.save_campaign(campaign_id=campaign_id, values=values)


def claims_of(count, campaign_id):
    return [claim(make_user(), campaign_id).position for _ in range(count)]


def stands(campaign_id):
    return connections.gate().exists(gate.gate_key(campaign_id)) == 1


def test_raised_quantity_lets_more_in():
    campaign_id = make_campaign(total=1)
    assert claims_of(1, campaign_id) == [1]
    with pytest.raises(CouponSoldOut):
        claim(make_user(), campaign_id)
    save(campaign_id, total_quantity=3)
    assert not stands(campaign_id)
    assert claims_of(2, campaign_id) == [2, 3]
    with pytest.raises(CouponSoldOut):
        claim(make_user(), campaign_id)
    settle()
    assert issued(campaign_id) == 3
    assert_sound()


def test_lowered_quantity_stops_the_gate_and_rejects_claims_that_wait_above_it():
    campaign_id = make_campaign(total=9)
    assert claims_of(4, campaign_id) == [1, 2, 3, 4]  # at the gate; PostgreSQL has issued none
    save(campaign_id, total_quantity=2)
    with pytest.raises(CouponSoldOut):
        claim(make_user(), campaign_id)
    settle()
    assert sorted(Issuance.objects.values_list("status", flat=True)) == ["issued", "issued", "rejected", "rejected"]
    assert_sound()


def test_quantity_below_what_is_issued_is_refused_and_nothing_changes():
    campaign_id = make_campaign(total=5)
    claims_of(2, campaign_id)
    settle()
    before = everything()
    with pytest.raises(QuantityTooLow):
        save(campaign_id, total_quantity=1)
    assert everything() == before
    assert stands(campaign_id)


@pytest.mark.parametrize(
    "terms",
    [
        {"discount_type": "percent", "discount_value": 50},
        {"discount_value": 400},
        {"max_discount": 100},
        {"min_order_amount": 1},
    ],
    ids=lambda terms: next(iter(terms)),
)
def test_terms_are_free_until_a_coupon_is_issued_and_frozen_from_then_on(terms):
    free = make_campaign()
    save(free, **terms)
    frozen = make_campaign()
    claims_of(1, frozen)
    settle()
    before = everything()
    with pytest.raises(TermsFrozen):
        save(frozen, name="renamed", **terms)
    assert everything() == before
    save(frozen, name="renamed", discount_type="fixed", discount_value=500)
    assert Campaign.objects.get(pk=frozen).name == "renamed"
    save(free, **terms)
    assert_sound()


def test_closed_campaign_lets_nobody_in_and_keeps_what_it_issued():
    campaign_id = make_campaign()
    claims_of(1, campaign_id)
    now = timezone.now()
    flows.close_campaign(campaign_id=campaign_id, now=now)
    with pytest.raises(CouponClosed):
        claim(make_user(), campaign_id)
    assert Campaign.objects.get().closes_at == now
    settle()
    assert issued(campaign_id) == 1
    before = everything()
    flows.close_campaign(campaign_id=campaign_id, now=now + HOUR)
    assert everything() == before
    assert_sound()


def test_campaign_closed_before_it_opened_was_never_open():
    now = timezone.now()
    campaign_id = make_campaign(opens_at=now + HOUR, closes_at=now + 2 * HOUR)
    with pytest.raises(CouponNotOpen):
        claim(make_user(), campaign_id)
    flows.close_campaign(campaign_id=campaign_id, now=now)
    with pytest.raises(CouponClosed):
        claim(make_user(), campaign_id)
    campaign = Campaign.objects.get()
    assert (campaign.opens_at, campaign.closes_at) == (now - timedelta(seconds=1), now)


def test_moved_window_is_known_at_the_gate():
    campaign_id, now = make_campaign(), timezone.now()
    claims_of(1, campaign_id)
    save(campaign_id, opens_at=now + HOUR, closes_at=now + 2 * HOUR)
    with pytest.raises(CouponNotOpen):
        claim(make_user(), campaign_id)
    save(campaign_id, opens_at=now - HOUR)
    assert claims_of(1, campaign_id) == [2]
    settle()
    assert_sound()


def test_refreshed_gate_is_built_anew_and_loses_nothing():
    campaign_id = make_campaign(total=3)
    claims_of(2, campaign_id)
    flows.refresh_gate(campaign_id=campaign_id)
    assert not stands(campaign_id)
    assert claims_of(1, campaign_id) == [3]
    settle()
    assert issued(campaign_id) == 3
    assert_sound()


@pytest.mark.parametrize(
    "change",
    [
        lambda: save(987_654, name="x"),
        lambda: flows.close_campaign(campaign_id=987_654, now=timezone.now()),
        lambda: flows.refresh_gate(campaign_id=987_654),
    ],
)
def test_unknown_campaign_is_refused(change):
    with pytest.raises(CouponNotFound):
        change()


def test_edit_while_redis_is_away_is_known_when_it_is_back():
    campaign_id = make_campaign(total=1)
    assert claims_of(1, campaign_id) == [1]
    with redis_at("gate", dead_server()):
        save(campaign_id, total_quantity=2)
    assert stands(campaign_id)  # the old one
    assert flows.check_gates(now=timezone.now()) == 1
    assert claims_of(1, campaign_id) == [2]
    settle()
    assert_sound()


def test_edit_waits_for_the_recorder_and_sees_what_it_issued():
    campaign_id = make_campaign(total=5)
    claims_of(3, campaign_id)
    with holding("coupons.operations.record_places") as holder:
        recorder = Running(settle)
        holder.wait()
        edit = Running(lambda: save(campaign_id, total_quantity=2))
        wait_until_blocked(1)
        holder.let_go()
        assert recorder.outcome() is None
        assert isinstance(edit.outcome(), QuantityTooLow)
    assert (issued(campaign_id), Campaign.objects.get().total_quantity) == (3, 5)
    assert_sound()


def test_control_without_the_lock_the_edit_forgets_what_was_issued(monkeypatch):
    """It writes the whole row, with the counter it read before the recorder wrote."""
    monkeypatch.setattr("coupons.operations.lock_campaign", lambda campaign_id: Campaign.objects.get(pk=campaign_id))
    campaign_id = make_campaign(total=5)
    claims_of(3, campaign_id)
    with holding("coupons.operations.lock_campaign") as holder:
        edit = Running(lambda: save(campaign_id, total_quantity=2))
        holder.wait()
        settle()
        assert issued(campaign_id) == 3
        holder.let_go()
        assert edit.outcome() == campaign_id
    assert issued(campaign_id) == 0
    assert Issuance.objects.count() == 3


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_worker_ahead_of_time_takes_no_coupon_away(monkeypatch):
    kept = coupon_of(make_user())
    Issuance.objects.filter(pk=kept).update(expires_at=timezone.now() + HOUR)
    ahead = timezone.now() + 2 * HOUR
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    tasks.expire_issuances()
    assert Issuance.objects.get(pk=kept).status == "issued"


def test_coupons_past_their_time_expire_in_batches_and_used_ones_stay():
    users = [make_user() for _ in range(3)]
    due = [coupon_of(user_id) for user_id in users]
    kept = coupon_of(users[0])
    now = timezone.now()
    Issuance.objects.filter(pk__in=due).update(expires_at=now)
    Issuance.objects.filter(pk=due[2]).update(status="used", used_at=now, order_id=1)
    assert [flows.expire_issuances(limit=1, now=now) for _ in range(3)] == [1, 1, 0]
    assert {row.pk: row.status for row in Issuance.objects.all()} == {
        due[0]: "expired",
        due[1]: "expired",
        due[2]: "used",
        kept: "issued",
    }


def test_coupon_past_its_time_shows_expired_before_the_clock_marks_it():
    user_id = make_user()
    issuance_id = coupon_of(user_id)
    expires_at = Issuance.objects.get().expires_at
    for moment, shown in ((expires_at - HOUR, "issued"), (expires_at, "expired")):
        found = queries.find_issuance(issuance_id=issuance_id, user_id=user_id, now=moment)
        assert found is not None
        assert found["status"] == shown


def test_change_that_contradicts_a_change_made_meanwhile_is_refused():
    """An operator moves the opening of a campaign that another has closed since."""
    campaign_id, now = make_campaign(), timezone.now()
    flows.close_campaign(campaign_id=campaign_id, now=now)
    before = everything()
    with pytest.raises(TermsContradict):
        flows.save_campaign(campaign_id=campaign_id, values={"opens_at": now + HOUR})
    assert everything() == before


def test_terms_are_frozen_for_who_holds_a_place_that_is_not_recorded_yet():
    campaign_id = make_campaign()
    claim(make_user(), campaign_id)
    with pytest.raises(TermsFrozen):
        flows.save_campaign(campaign_id=campaign_id, values={"discount_value": 1})
    flows.save_campaign(campaign_id=campaign_id, values={"discount_value": 500, "name": "as it was"})
    settle()
    assert_sound()
