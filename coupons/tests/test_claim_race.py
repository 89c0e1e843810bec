"""Four hundred users ask twice for a hundred places, at once: exactly a hundred get in, at 1..100, on either way."""

import threading
from functools import partial

import pytest
from django.db import IntegrityError
from django.utils import timezone

from config.tests.building import assert_sound, claim, issued, make_campaign, make_user, settle
from coupons import flows, gate, operations
from coupons.errors import CouponAlreadyIssued, CouponSoldOut
from coupons.flows import Claimed
from coupons.models import Campaign, Issuance
from shop import connections, db, seeding
from shop.errors import Busy
from shop.testing import Running, dead_server, holding, race, redis_at, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")
USERS, PLACES, THREADS = 400, 100, 16


@pytest.fixture
def users():
    wish = seeding.Wish(counts={"users": USERS}, options={"balance": 0})
    return list(seeding.seed(wish=wish, now=timezone.now(), progress=lambda *_: None)["users"])


def ask(user_id, campaign_id):
    """Claim like a client that repeats what was refused for want of capacity; return the outcome."""
    while True:
        try:
            return claim(user_id, campaign_id)
        except Busy:
            continue
        except (CouponSoldOut, CouponAlreadyIssued) as refusal:
            return refusal


def ask_all(users, campaign_id):
    """Let every user ask twice, at once from many threads, in opposite order; return (user, outcome) pairs."""

    def client(share):
        return [(user_id, ask(user_id, campaign_id)) for user_id in share]

    shares = [users[number :: THREADS // 2] for number in range(THREADS // 2)]
    calls = [partial(client, share) for share in shares] + [partial(client, share[::-1]) for share in shares]
    return [pair for pairs in race(*calls) for pair in pairs]


def assert_exactly_the_places_went(campaign_id, outcomes):
    placed = {user_id: outcome for user_id, outcome in outcomes if isinstance(outcome, Claimed)}
    refused = [(user_id, outcome) for user_id, outcome in outcomes if not isinstance(outcome, Claimed)]
    assert len(outcomes) == 2 * USERS
    assert len(placed) == PLACES == len(outcomes) - len(refused)
    assert sorted(outcome.position for outcome in placed.values()) == list(range(1, PLACES + 1))
    for user_id, refusal in refused:
        if isinstance(refusal, CouponAlreadyIssued):
            assert refusal.issuance_id == placed[user_id].issuance_id
        else:
            assert user_id not in placed
    settle()
    recorded = dict(Issuance.objects.values_list("user_id", "position"))
    assert recorded == {user_id: outcome.position for user_id, outcome in placed.items()}
    assert issued(campaign_id) == PLACES
    assert_sound()


def test_gate_lets_exactly_the_places_in(users):
    campaign_id = make_campaign(total=PLACES)
    assert_exactly_the_places_went(campaign_id, ask_all(users, campaign_id))


def test_row_lock_lets_exactly_the_places_in_while_redis_is_dead(users):
    campaign_id = make_campaign(total=PLACES)
    with redis_at("gate", dead_server()):
        outcomes = ask_all(users, campaign_id)
    assert_exactly_the_places_went(campaign_id, outcomes)


def test_gate_that_dies_and_comes_back_in_the_rush_gives_no_place_twice(users):
    """A third asks at the gate, a third while Redis is dead, a third at the gate again; nothing is drained between."""
    campaign_id = make_campaign(total=PLACES)
    dead = redis_at("gate", dead_server())
    first = [(user_id, ask(user_id, campaign_id)) for user_id in users[:40]]
    settle()
    with dead:
        second = [(user_id, ask(user_id, campaign_id)) for user_id in users[20:80]]
    third = [(user_id, ask(user_id, campaign_id)) for user_id in users[60:200]]
    settle()
    outcomes = first + second + third
    placed = [user_id for user_id, outcome in outcomes if isinstance(outcome, Claimed)]
    assert placed == users[:PLACES]
    assert [outcome.position for _, outcome in outcomes if isinstance(outcome, Claimed)] == list(range(1, PLACES + 1))
    assert_sound()


# --- controls -------------------------------------------------------------------------------------------------------


def test_control_a_gate_that_is_not_one_script_lets_too_many_in(users, monkeypatch):
    """What claim.lua would be as single commands: look, then take."""
    campaign_id = make_campaign(total=1)
    claim(users[0], campaign_id)
    connections.gate().hset(gate.gate_key(campaign_id), "taken", 0)
    everybody_has_looked = threading.Barrier(2, timeout=30)

    def claim_in_steps(*, campaign_id, user_id):
        redis, key = connections.gate(), gate.gate_key(campaign_id)
        total, taken = [int(value or 0) for value in redis.hmget(key, "total", "taken")]
        everybody_has_looked.wait()
        if taken >= total:
            return gate.Answer("sold_out")
        return gate.Answer("placed", position=redis.hincrby(key, "taken", 1), issuance_id=1)

    monkeypatch.setattr(gate, "claim", claim_in_steps)
    outcomes = race(*[partial(claim, user_id, campaign_id) for user_id in users[2:4]])
    assert sorted(outcome.position for outcome in outcomes) == [1, 2]


def claim_without_redis(user_id, campaign_id):
    return flows._claim_under_row_lock(user_id=user_id, campaign_id=campaign_id, now=timezone.now())


def test_row_lock_makes_the_second_wait_for_the_last_place():
    campaign_id = make_campaign(total=1)
    first_user, second_user = make_user(), make_user()
    with holding("coupons.operations.lock_campaign") as holder:
        first = Running(lambda: claim_without_redis(first_user, campaign_id))
        holder.wait()
        second = Running(lambda: claim_without_redis(second_user, campaign_id))
        wait_until_blocked(1)
        holder.let_go()
        assert first.outcome().position == 1
        assert isinstance(second.outcome(), CouponSoldOut)


def test_control_without_the_row_lock_only_a_constraint_keeps_two_users_from_one_place(monkeypatch):
    monkeypatch.setattr(operations, "lock_campaign", lambda campaign_id: Campaign.objects.get(pk=campaign_id))
    campaign_id = make_campaign(total=1)
    first_user, second_user = make_user(), make_user()
    with holding("coupons.operations.lock_campaign") as holder:
        slow = Running(lambda: claim_without_redis(first_user, campaign_id))
        holder.wait()
        assert claim_without_redis(second_user, campaign_id).position == 1
        holder.let_go()
        outcome = slow.outcome()
    assert isinstance(outcome, IntegrityError)
    assert db.violated_constraint(outcome) == "issuance_place_taken_once"


def test_no_more_than_four_at_once_take_the_row_lock_and_the_others_are_told_to_come_back():
    campaign_id = make_campaign()
    users = [make_user() for _ in range(5)]
    with holding("coupons.operations.lock_campaign") as holder:
        running = [Running(partial(claim_without_redis, user_id, campaign_id)) for user_id in users[:1]]
        holder.wait()
        running += [Running(partial(claim_without_redis, user_id, campaign_id)) for user_id in users[1:4]]
        wait_until_blocked(3)
        with pytest.raises(Busy):
            claim_without_redis(users[4], campaign_id)
        holder.let_go()
        assert sorted(runner.outcome().position for runner in running) == [1, 2, 3, 4]
    assert claim_without_redis(users[4], campaign_id).position == 5
