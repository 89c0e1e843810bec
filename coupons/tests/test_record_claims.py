"""Recording claims: in the order of arrival, once, whatever dies between the commit and the acknowledgement."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.tests.building import (
    assert_sound,
    claim,
    everything,
    issued,
    make_campaign,
    make_product,
    make_user,
    parked_ids,
    place,
    run,
    settle,
    status,
)
from coupons import flows, gate, operations
from coupons.models import Issuance
from coupons.operations import Place
from coupons.tasks import RECORD_CLAIMS
from orders.tasks import REDEEM_COUPONS, RESERVE_STOCK
from shop import db, pipeline, wakeups
from shop.errors import DependencyUnavailable, InvalidToken
from shop.models import ParkedItem
from shop.testing import dead_server, race, redis_at

pytestmark = pytest.mark.usefixtures("committed_db")


def claims_of(count, campaign_id):
    return [claim(make_user(), campaign_id) for _ in range(count)]


def record(limit=500, skip=()):
    batch = pipeline.Claim(limit=limit, skip=list(skip))
    flows.record_claims(claim=batch, now=timezone.now())
    return batch.taken


def ids(claims):
    return [one.issuance_id for one in claims]


def test_nothing_to_record_changes_nothing():
    make_campaign()
    before = everything()
    assert record() == []
    assert everything() == before


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_any_batch_size_records_every_claim_in_the_order_of_arrival(limit):
    one, other = make_campaign(), make_campaign()
    claims = [claim for pair in zip(claims_of(4, one), claims_of(4, other), strict=True) for claim in pair]
    taken = []
    while batch := record(limit):
        taken += batch
        assert len(batch) <= limit
    assert sorted(taken) == sorted(ids(claims))
    assert dict(Issuance.objects.values_list("pk", "position")) == {item.issuance_id: item.position for item in claims}
    assert (issued(one), issued(other)) == (4, 4)
    assert_sound()


def test_statements_of_a_batch_do_not_grow_with_its_claims(django_assert_num_queries):
    campaign_id = make_campaign(total=1_000)
    claims_of(1, campaign_id)
    with django_assert_num_queries(0):  # reading the gate asks no table
        assert len(gate.list_claims()) == 1
    counts = []
    for count in (1, 50):
        claims_of(count - 1, campaign_id)
        counts.append(count_statements())
    claims_of(50, campaign_id)
    counts.append(count_statements())
    assert len(set(counts)) == 1, counts


def count_statements():
    seen = []

    def count(execute, *statement):
        seen.append(statement[0])
        return execute(*statement)

    with db.connection.execute_wrapper(count):
        record()
    return len(seen)


def test_death_between_commit_and_acknowledgement_is_repeated_without_harm(monkeypatch):
    campaign_id = make_campaign(total=2)
    claims = claims_of(2, campaign_id)

    def die(claims):
        raise DependencyUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(gate, "acknowledge", die)
        with pytest.raises(DependencyUnavailable):
            record()
    assert (issued(campaign_id), gate.backlog()) == (2, 2)
    before = list(Issuance.objects.order_by("pk").values_list())
    assert record() == ids(claims)
    assert list(Issuance.objects.order_by("pk").values_list()) == before
    assert gate.backlog() == 0
    assert_sound()


def test_rejected_claim_repeated_after_the_quantity_was_raised_is_not_counted(monkeypatch):
    """Its rejection was committed, the acknowledgement lost, and now there is room: the rejection stands."""
    campaign_id = make_campaign(total=1)
    (waiting,) = claims_of(1, campaign_id)
    with redis_at("gate", dead_server()):
        claims_of(1, campaign_id)
    with monkeypatch.context() as patched:
        patched.setattr(gate, "acknowledge", lambda claims: None)
        record()
    assert Issuance.objects.get(pk=waiting.issuance_id).status == "rejected"
    flows.save_campaign(campaign_id=campaign_id, values={"total_quantity": 5})
    again = claim(Issuance.objects.get(pk=waiting.issuance_id).user_id, campaign_id)  # while the first one still waits
    assert record() == [waiting.issuance_id, again.issuance_id]
    assert (issued(campaign_id), again.position) == (2, 2)
    assert [one.position for one in claims_of(2, campaign_id)] == [3, 4]
    settle()
    assert_sound()


def test_claim_under_an_id_that_somebody_has_is_passed_over():
    campaign_id, stranger_id = make_campaign(), make_user()
    (known,) = claims_of(1, campaign_id)
    record()
    with db.transaction():
        campaigns = operations.lock_campaigns([campaign_id])
        place = Place(campaign_id, stranger_id, known.issuance_id)
        assert operations.record_places(campaigns, [place], now=timezone.now()) == 0
    assert issued(campaign_id) == 1
    assert_sound()


def test_user_twice_in_one_batch_is_recorded_at_the_first_place():
    campaign_id, one, other = make_campaign(), make_user(), make_user()
    given = [Place(campaign_id, one, 101), Place(campaign_id, other, 102), Place(campaign_id, one, 103)]
    with db.transaction():
        campaigns = operations.lock_campaigns([campaign_id])
        assert operations.record_places(campaigns, given, now=timezone.now()) == 2
    assert list(Issuance.objects.order_by("position").values_list("pk", "user_id", "position")) == [
        (101, one, 1),
        (102, other, 2),
    ]
    assert_sound()


def test_recorders_at_once_record_once():
    campaign_id = make_campaign(total=30)
    claims = claims_of(30, campaign_id)
    race(*[record] * 4)
    assert dict(Issuance.objects.values_list("pk", "position")) == {item.issuance_id: item.position for item in claims}
    assert (issued(campaign_id), gate.backlog()) == (30, 0)
    assert_sound()


def test_claim_that_cannot_be_recorded_is_parked_and_the_others_are_recorded(monkeypatch):
    campaign_id = make_campaign()
    claims = claims_of(5, campaign_id)
    real = operations.record_places

    def record_places(campaigns, places, *, now):
        if claims[2].issuance_id in [place.issuance_id for place in places]:
            raise ValueError
        return real(campaigns, places, now=now)

    with monkeypatch.context() as patched:
        patched.setattr(operations, "record_places", record_places)
        pipeline.drain(RECORD_CLAIMS)
    assert issued(campaign_id) == 4
    assert parked_ids(RECORD_CLAIMS) == [claims[2].issuance_id]
    assert RECORD_CLAIMS.first_waiting(skip=[]) == claims[2].issuance_id
    assert RECORD_CLAIMS.first_waiting(skip=[claims[2].issuance_id]) is None
    assert record(skip=[claims[2].issuance_id]) == []
    pipeline.retry_parked(parked_ids=list(ParkedItem.objects.values_list("pk", flat=True)))
    settle()
    assert issued(campaign_id) == 5
    assert Issuance.objects.get(pk=claims[2].issuance_id).position == 5
    assert parked_ids(RECORD_CLAIMS) == []


def test_skipped_claims_do_not_use_up_the_limit():
    claims = claims_of(4, make_campaign())
    assert record(limit=2, skip=ids(claims[:2])) == ids(claims[2:])


def test_while_redis_is_away_the_drain_waits_and_blames_nobody():
    claims = claims_of(1, make_campaign())
    with redis_at("gate", dead_server()):
        assert pipeline.drain(RECORD_CLAIMS) == 0
    assert not ParkedItem.objects.exists()
    assert pipeline.drain(RECORD_CLAIMS) == 1
    assert ids(claims) == list(Issuance.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("campaigns", [1, 3])
def test_claims_of_any_number_of_campaigns_are_recorded_in_six_statements(campaigns):
    claims = [one for _ in range(campaigns) for one in claims_of(2, make_campaign())]
    with CaptureQueriesContext(connection) as captured:
        assert record() == ids(claims)
    assert len(captured) == 2 + 6  # BEGIN, campaigns, holders, known ids, users, issuances, `issued`, COMMIT


def test_recorded_claims_wake_the_order_that_waits_for_its_coupon():
    user_id = make_user(balance=10_000)
    claimed = claim(user_id, make_campaign())
    order_id = place(user_id, (make_product(stock=1), 1), issuance_id=claimed.issuance_id)
    run(RESERVE_STOCK, REDEEM_COUPONS)
    assert status(order_id) == "stock_reserved"  # put off
    assert not wakeups.is_flag_set(REDEEM_COUPONS.name)
    assert pipeline.drain(RECORD_CLAIMS) == 1
    assert wakeups.is_flag_set(REDEEM_COUPONS.name)
    assert run(RECORD_CLAIMS) == []
    assert run(REDEEM_COUPONS) == [order_id]


def test_recorded_claims_that_nobody_waits_for_wake_nobody():
    claims_of(1, make_campaign())
    assert pipeline.drain(RECORD_CLAIMS) == 1
    assert not wakeups.is_flag_set(REDEEM_COUPONS.name)


def test_claim_of_a_user_who_has_gone_holds_nobody_up_and_frees_its_place():
    campaign_id = make_campaign(total=3)
    assert claim(make_user(), campaign_id).position == 1
    assert gate.claim(campaign_id=campaign_id, user_id=987_654).position == 2
    assert claim(make_user(), campaign_id).position == 3
    settle()
    assert (issued(campaign_id), gate.backlog()) == (2, 0)
    assert claim(make_user(), campaign_id).position == 3
    settle()
    assert_sound()


def test_user_who_has_gone_claims_nothing_under_the_row_lock():
    campaign_id = make_campaign()
    with redis_at("gate", dead_server()), pytest.raises(InvalidToken):
        claim(987_654, campaign_id)
    assert issued(campaign_id) == 0
