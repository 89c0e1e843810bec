"""What Redis may do to the gate: be flushed, restarted, away, restored from an old copy. PostgreSQL wins every time."""

import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from django.utils import timezone

from config.tests.building import (
    assert_sound,
    claim,
    coupon_of,
    issued,
    make_campaign,
    make_product,
    make_user,
    place,
    run,
    settle,
    status,
)
from coupons import flows, gate, places
from coupons.errors import CouponAlreadyIssued, CouponSoldOut
from coupons.models import Campaign, Issuance
from coupons.tasks import RECORD_CLAIMS
from orders.tasks import STAGES as ORDER_STAGES
from shop import connections
from shop.errors import DependencyUnavailable
from shop.local import accounts, ports, processes, valkey
from shop.testing import Running, dead_server, frozen_server, holding, race, redis_at, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def users(count):
    return [make_user() for _ in range(count)]


def claim_all(user_ids, campaign_id):
    return [claim(user_id, campaign_id) for user_id in user_ids]


def recorded():
    """Return (user, position) of every place, in order."""
    rows = Issuance.objects.exclude(status="rejected").order_by("position")
    return list(rows.values_list("user_id", "position"))


def in_order(user_ids):
    return [(user_id, position) for position, user_id in enumerate(user_ids, 1)]


def already(user_id, campaign_id):
    """Return the issuance the user is told to have already."""
    with pytest.raises(CouponAlreadyIssued) as refusal:
        claim(user_id, campaign_id)
    return refusal.value.issuance_id


def pretend_restart():
    """Stamp every gate with another server's run_id, as after a restart."""
    client = connections.gate()
    for key in client.keys("gate:*"):
        if client.type(key) == b"hash" and client.hexists(key, "run_id"):
            client.hset(key, "run_id", "0" * 40)


# --- lost -----------------------------------------------------------------------------------------------------------


def test_flushed_gate_goes_on_where_postgresql_is():
    campaign_id, people = make_campaign(total=6), users(8)
    first = claim_all(people[:3], campaign_id)
    settle()
    connections.gate().flushdb()
    assert [already(people[number], campaign_id) for number in range(3)] == [one.issuance_id for one in first]
    assert [one.position for one in claim_all(people[3:6], campaign_id)] == [4, 5, 6]
    with pytest.raises(CouponSoldOut):
        claim(people[6], campaign_id)
    settle()
    assert recorded() == in_order(people[:6])
    assert_sound()


def test_claims_lost_with_the_gate_leave_their_places_to_others_and_their_ids_to_nobody():
    campaign_id, people = make_campaign(total=3), users(5)
    (kept,) = claim_all(people[:1], campaign_id)
    settle()
    lost = claim_all(people[1:3], campaign_id)
    connections.gate().flushdb()
    again = claim_all([people[3], people[1]], campaign_id)
    with pytest.raises(CouponSoldOut):
        claim(people[2], campaign_id)
    settle()
    assert recorded() == in_order([people[0], people[3], people[1]])
    assert not {one.issuance_id for one in lost} & {one.issuance_id for one in again}
    show = partial(places.show_issuance, issuance_id=lost[1].issuance_id, user_id=people[2], now=timezone.now())
    assert show() is None
    assert already(people[0], campaign_id) == kept.issuance_id
    assert_sound()


def test_restarted_gate_is_rebuilt_with_the_claims_that_wait():
    campaign_id, people = make_campaign(total=4), users(6)
    claim_all(people[:1], campaign_id)
    settle()
    waiting = claim_all(people[1:3], campaign_id)
    pretend_restart()
    assert claim(people[3], campaign_id).position == 4
    assert [already(user_id, campaign_id) for user_id in people[1:3]] == [one.issuance_id for one in waiting]
    with pytest.raises(CouponSoldOut):
        claim(people[4], campaign_id)
    assert recorded() == in_order(people[:3])  # the rebuild recorded them, before anybody else was let in
    settle()
    assert recorded() == in_order(people[:4])
    assert_sound()


def test_scripts_flushed_are_sent_again():
    campaign_id = make_campaign()
    claim(make_user(), campaign_id)
    connections.gate().script_flush()
    assert claim(make_user(), campaign_id).position == 2


def test_only_one_of_many_rebuilds_and_nobody_is_let_in_before(monkeypatch):
    campaign_id, people = make_campaign(total=5), users(12)
    claim_all(people[:2], campaign_id)
    settle()
    connections.gate().flushdb()
    build = mock.Mock(side_effect=gate.build)
    monkeypatch.setattr(gate, "build", build)
    outcomes = race(*[partial(claim, user_id, campaign_id) for user_id in people[2:]])
    assert build.call_count == 1
    positions = [outcome.position for outcome in outcomes if isinstance(outcome, flows.Claimed)]
    assert sorted(positions) == [3, 4, 5]
    assert sum(isinstance(outcome, CouponSoldOut) for outcome in outcomes) == 7
    settle()
    assert_sound()


def test_rebuild_waits_for_the_recorder_and_counts_what_it_recorded():
    campaign_id, people = make_campaign(total=3), users(3)
    claim_all(people[:2], campaign_id)
    with holding("coupons.operations.record_places") as holder:
        recorder = Running(lambda: run(RECORD_CLAIMS))
        holder.wait()
        pretend_restart()
        rebuilder = Running(partial(claim, people[2], campaign_id))
        wait_until_blocked(1)
        holder.let_go()
        assert len(recorder.outcome()) == 2
        assert rebuilder.outcome().position == 3
    settle()
    assert recorded() == in_order(people)
    assert_sound()


def test_gate_of_an_older_version_lets_nobody_in_while_it_is_replaced(monkeypatch):
    """A gate left over from before an edit; somebody rebuilds it, and a claim comes just after the stream was read."""
    campaign_id, people = make_campaign(total=9), users(2)
    claim(people[0], campaign_id)
    monkeypatch.setattr(gate, "demolish_if_older", lambda campaign_id, version: False)
    flows.refresh_gate(campaign_id=campaign_id)
    real = gate.list_claims
    answers: list[gate.Answer] = []

    def read_then_somebody_comes(**asked):
        claims = real(**asked)
        if not answers:
            answers.append(gate.claim(campaign_id=campaign_id, user_id=people[1]))
        return claims

    monkeypatch.setattr(gate, "list_claims", read_then_somebody_comes)
    flows._rebuild(campaign_id=campaign_id, now=timezone.now())
    assert answers == [gate.Answer("rebuild")]
    assert claim(people[1], campaign_id).position == 2
    settle()
    assert recorded() == in_order(people)
    assert_sound()


# --- away -----------------------------------------------------------------------------------------------------------


def test_while_redis_is_away_the_row_lock_decides_and_the_gate_comes_back_knowing_it():
    campaign_id, people = make_campaign(total=5), users(7)
    claim_all(people[:2], campaign_id)
    settle()
    with redis_at("gate", dead_server()):
        away = claim_all(people[2:4], campaign_id)
        assert [one.position for one in away] == [3, 4]
        with pytest.raises(CouponAlreadyIssued):
            claim(people[0], campaign_id)
    assert already(people[2], campaign_id) == away[0].issuance_id
    assert claim(people[4], campaign_id).position == 5
    with pytest.raises(CouponSoldOut):
        claim(people[5], campaign_id)
    settle()
    assert recorded() == in_order(people[:5])
    assert_sound()


def test_frozen_redis_costs_a_claim_no_more_than_its_time_limit():
    campaign_id = make_campaign()
    with frozen_server() as url, redis_at("gate", url):
        began = timezone.now()
        assert claim(make_user(), campaign_id).position == 1
        assert (timezone.now() - began).total_seconds() < 1.5
        assert [claim(make_user(), campaign_id).position for _ in range(3)] == [2, 3, 4]
        with mock.patch.object(connections, "gate") as asked:
            assert claim(make_user(), campaign_id).position == 5
        assert not asked.called  # the breaker skips Redis by now


def test_claims_that_waited_while_the_last_places_went_are_rejected():
    campaign_id, people = make_campaign(total=3), users(5)
    early = claim_all(people[:2], campaign_id)  # at the gate, not recorded yet
    with redis_at("gate", dead_server()):
        assert [one.position for one in claim_all(people[2:4], campaign_id)] == [1, 2]
    settle()
    assert recorded() == in_order([people[2], people[3], people[0]])
    rejected = Issuance.objects.get(status="rejected")
    assert (rejected.pk, rejected.user_id, rejected.position) == (early[1].issuance_id, people[1], None)
    with pytest.raises(CouponSoldOut):
        claim(people[1], campaign_id)
    assert_sound()


def test_user_who_claims_on_both_ways_has_one_coupon():
    campaign_id, people = make_campaign(total=3), users(3)
    claim(people[0], campaign_id)  # waits at the gate
    with redis_at("gate", dead_server()):
        second = claim(people[0], campaign_id)
    settle()
    assert recorded() == [(people[0], 1)]
    assert already(people[0], campaign_id) == second.issuance_id
    assert [claim(user_id, campaign_id).position for user_id in people[1:]] == [2, 3]
    settle()
    assert_sound()


def test_gate_that_missed_claims_of_another_process_is_demolished_by_the_sweep():
    campaign_id, people = make_campaign(total=3), users(4)
    claim(people[0], campaign_id)
    with redis_at("gate", dead_server()):
        claim_all(people[1:3], campaign_id)
    flows._outdated.clear()  # it was another process that had no Redis
    assert claim(people[3], campaign_id).position == 2  # the old gate does not know the two
    assert flows.check_gates(now=timezone.now()) == 1
    assert flows.check_gates(now=timezone.now()) == 0
    with pytest.raises(CouponSoldOut):
        claim(people[3], campaign_id)
    settle()
    assert recorded() == in_order([people[1], people[2], people[0]])
    assert Issuance.objects.get(status="rejected").user_id == people[3]
    assert_sound()


def test_recorder_demolishes_a_gate_that_missed_claims():
    campaign_id, people = make_campaign(total=9), users(3)
    claim(people[0], campaign_id)
    with redis_at("gate", dead_server()):
        claim(people[1], campaign_id)
    flows._outdated.clear()
    settle()
    assert connections.gate().exists(gate.gate_key(campaign_id)) == 0
    assert claim(people[2], campaign_id).position == 3
    settle()
    assert_sound()


def test_rebuild_that_was_never_committed_is_demolished(monkeypatch):
    campaign_id, user_id = make_campaign(), make_user()
    real = gate.build

    def build_and_die(**wanted):
        real(**wanted)
        raise DependencyUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(gate, "build", build_and_die)
        assert claim(user_id, campaign_id).position == 1  # the row lock helps out
    assert connections.gate().exists(gate.gate_key(campaign_id))
    assert not gate.is_open_at(campaign_id, Campaign.objects.get().gate_version)
    assert flows.check_gates(now=timezone.now()) == 1
    assert isinstance(already(user_id, campaign_id), int)
    settle()
    assert_sound()


def test_build_that_was_rolled_back_never_passes_for_the_next_version(monkeypatch):
    """Its gate knows the old total; the edit after it must not take its version."""
    campaign_id = make_campaign(total=1)
    real = gate.build

    def build_and_die(**wanted):
        real(**wanted)
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(gate, "build", build_and_die)
        with pytest.raises(ZeroDivisionError):
            claim(make_user(), campaign_id)
    flows.save_campaign(campaign_id=campaign_id, values={"total_quantity": 2})
    assert [claim(make_user(), campaign_id).position for _ in range(2)] == [1, 2]
    settle()
    assert_sound()


# --- old ------------------------------------------------------------------------------------------------------------


def copy_of_the_gate():
    client = connections.gate()
    return {key: client.dump(key) for key in client.keys("gate:*")}


def restore(copy):
    client = connections.gate()
    client.flushdb()
    for key, value in copy.items():
        client.restore(key, 0, value)
    pretend_restart()


def test_gate_restored_from_an_old_copy_gives_no_place_twice():
    campaign_id, people = make_campaign(total=5), users(8)
    claim_all(people[:2], campaign_id)
    old = copy_of_the_gate()  # two claims wait in its stream
    claim_all(people[2:4], campaign_id)
    settle()
    restore(old)
    assert [already(user_id, campaign_id) > 0 for user_id in people[:4]] == [True] * 4
    assert claim(people[4], campaign_id).position == 5
    with pytest.raises(CouponSoldOut):
        claim(people[5], campaign_id)
    settle()
    assert recorded() == in_order(people[:5])
    assert not Issuance.objects.filter(status="rejected").exists()
    assert_sound()


def test_claims_newer_than_the_restored_copy_are_lost_and_the_places_stay_dense():
    campaign_id, people = make_campaign(total=3), users(5)
    claim_all(people[:1], campaign_id)
    old = copy_of_the_gate()
    lost = claim_all(people[1:3], campaign_id)  # answered, never recorded
    restore(old)
    assert [one.position for one in claim_all(people[3:], campaign_id)] == [2, 3]
    settle()
    assert recorded() == in_order([people[0], *people[3:]])
    assert not Issuance.objects.filter(pk__in=[one.issuance_id for one in lost]).exists()
    assert_sound()


def test_old_stream_alone_is_recorded_without_harm():
    campaign_id, people = make_campaign(total=2), users(4)
    claim_all(people[:2], campaign_id)
    stream = connections.gate().dump(gate.CLAIMS) or b""
    settle()
    connections.gate().delete(gate.CLAIMS)
    before = list(Issuance.objects.order_by("pk").values_list())
    connections.gate().restore(gate.CLAIMS, 0, stream)
    assert len(run(RECORD_CLAIMS)) == 2
    assert list(Issuance.objects.order_by("pk").values_list()) == before
    assert gate.backlog() == 0
    assert_sound()


# --- a real server --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_valkey():
    """A durable server of this test's own: it can be killed and started again."""
    directory = Path(tempfile.mkdtemp(prefix="shop-gate-"))
    directory.chmod(0o755)  # the engine's account must pass
    data = directory / "valkey"
    account = accounts.engine_account(data, valkey.server_program())
    with (directory / "log").open("wb") as log:
        server = valkey.Valkey(
            data=data, port=ports.free_port(), password="of-this-test", account=account, output=log.fileno()
        )
        server.prepare()
        running = [server.start()]
        server.wait_ready(running[0])

        def kill_and_start():
            processes.stop(running.pop(), (signal.SIGKILL, 5.0))
            running.append(server.start())
            server.wait_ready(running[0])

        yield server.url, kill_and_start
        processes.stop(running.pop(), (signal.SIGKILL, 5.0))
    shutil.rmtree(directory)


def test_killed_server_comes_back_with_every_claim_and_is_rebuilt_before_use(own_valkey):
    url, kill_and_start = own_valkey
    campaign_id, people = make_campaign(total=4), users(5)
    with redis_at("gate", url):
        before = claim_all(people[:3], campaign_id)
        kill_and_start()
        assert not gate.is_open_at(campaign_id, Campaign.objects.get().gate_version)
        assert [already(user_id, campaign_id) for user_id in people[:3]] == [one.issuance_id for one in before]
        assert claim(people[3], campaign_id).position == 4
        with pytest.raises(CouponSoldOut):
            claim(people[4], campaign_id)
        settle()
        assert recorded() == in_order(people[:4])
        assert_sound()


# --- an order meanwhile ---------------------------------------------------------------------------------------------


def test_coupon_that_is_rejected_refuses_the_order_that_waits_for_it():
    campaign_id, (early, late) = make_campaign(total=1), users(2)
    product_id = make_product(stock=1, price=1_000)
    claimed = claim(early, campaign_id)
    order_id = place(early, (product_id, 1), issuance_id=claimed.issuance_id)
    with redis_at("gate", dead_server()):
        claim(late, campaign_id)
    settle()
    assert status(order_id) == "issuance_not_usable"
    assert_sound()


def test_recorded_coupon_is_spent_while_redis_is_dead():
    user_id, product_id = make_user(balance=1_000), make_product(stock=1, price=1_000)
    issuance_id = coupon_of(user_id)
    with redis_at("gate", dead_server()):
        order_id = place(user_id, (product_id, 1), issuance_id=issuance_id)
        run(*ORDER_STAGES)
    assert status(order_id) == "paid"
    assert issued(Campaign.objects.get().pk) == 1
    assert_sound()
