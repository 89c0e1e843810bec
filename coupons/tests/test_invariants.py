"""Each invariant of coupons, in PostgreSQL and between it and the gate, must name what is broken and nothing else."""

from datetime import timedelta

import pytest

from coupons import gate, invariants
from coupons.models import Campaign, Issuance
from orders.tests import sound_shop
from shop import connections, db
from shop.invariants import compare_redis, find_violations

pytestmark = pytest.mark.django_db


def found(*, drained=False):
    orders_under_way = ("O5", "O6")
    violations = find_violations(drained=drained)
    return [(item.invariant, item.row) for item in violations if item.invariant not in orders_under_way]


def found_in_redis():
    violations, _unchecked = compare_redis(drained=True)
    return [(violation.invariant, violation.row) for violation in violations]


@pytest.fixture
def shop():
    built = sound_shop.build()
    assert found(drained=True) == []
    return built


@pytest.fixture
def gates(shop, monkeypatch):
    """The sound shop's first campaign with its gate built; the Redis databases are empty before and after."""
    monkeypatch.setattr("shop.invariants.LOOK_AGAIN_SECONDS", 0)
    clients = [connections.gate(), connections.cached(), connections.flags()]
    for client in clients:
        client.flushdb()
    build_gate(shop.campaign_ids[0])
    assert found_in_redis() == []
    yield shop
    for client in clients:
        client.flushdb()


def build_gate(campaign_id):
    campaign = Campaign.objects.get(pk=campaign_id)
    issuances = Issuance.objects.filter(campaign=campaign).exclude(status="rejected")
    places = [(item.user_id, item.position or 0, item.pk) for item in issuances]
    assert gate.build(
        campaign_id=campaign_id,
        version=campaign.gate_version,
        epoch=1,
        terms=gate.GateTerms(campaign.total_quantity, campaign.opens_at, campaign.closes_at),
        places=places,
    )


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def c1(campaign_id, **changes):
    sound = {"issued": 4, "total_quantity": 10, "issuances": 4, "users": 4, "last_position": 4}
    return ("C1", {"campaign_id": campaign_id} | sound | changes)


@pytest.mark.parametrize("issued", [3, 5])
def test_c1_names_a_campaign_that_counted_wrong(shop, issued):
    campaign_id = shop.campaign_ids[0]
    sound_shop.damage("UPDATE coupons_campaign SET issued = %(n)s WHERE id = %(id)s", n=issued, id=campaign_id)
    assert found() == [c1(campaign_id, issued=issued)]


def test_c1_names_a_campaign_that_issued_more_than_it_had(shop):
    campaign_id = shop.campaign_ids[0]
    db.rows("ALTER TABLE coupons_campaign DROP CONSTRAINT campaign_issued_within_total")
    sound_shop.damage("UPDATE coupons_campaign SET total_quantity = 3 WHERE id = %(id)s", id=campaign_id)
    assert found() == [
        c1(campaign_id, total_quantity=3),
        ("X1", {"constraint": "campaign_issued_within_total"}),
    ]


def test_c1_names_a_campaign_that_gave_one_user_two(shop):
    campaign_id = shop.campaign_ids[0]
    db.rows("DROP INDEX issuance_once_per_user")
    sound_shop.damage(
        """
        UPDATE coupons_issuance SET user_id = (SELECT user_id FROM coupons_issuance WHERE id = %(other)s)
        WHERE id = %(id)s
        """,
        id=shop.issuances["issued"],
        other=shop.issuances["expired"],
    )
    assert found() == [c1(campaign_id, users=3), ("X1", {"constraint": "issuance_once_per_user"})]


def test_c1_names_a_gap_in_the_positions_once_the_gate_is_drained(shop):
    sound_shop.damage("UPDATE coupons_issuance SET position = 9 WHERE id = %(id)s", id=shop.issuances["issued too"])
    assert found() == []
    assert found(drained=True) == [c1(shop.campaign_ids[0], last_position=9)]


# --- Redis ----------------------------------------------------------------------------------------------------------


def test_the_keys_are_the_gates():
    assert (invariants.CLAIMS, invariants.PENDING) == (gate.CLAIMS, gate.PENDING)
    assert (gate.gate_key(7), gate.users_key(7)) == ("gate:7", "gate:7:users")


def test_r1_names_a_gate_that_took_more_places_than_were_issued(gates):
    campaign_id = gates.campaign_ids[0]
    connections.gate().hincrby(gate.gate_key(campaign_id), "taken", 1)
    assert found_in_redis() == [("R1", {"campaign_id": campaign_id, "taken": 5, "issued": 4})]


def test_r2_names_a_user_the_gate_does_not_know_and_one_it_made_up(gates):
    campaign_id, users = gates.campaign_ids[0], gate.users_key(gates.campaign_ids[0])
    issuance = Issuance.objects.get(pk=gates.issuances["issued"])
    connections.gate().hdel(users, issuance.user_id)
    connections.gate().hset(users, "0", "2:77")
    assert found_in_redis() == [
        ("R2", {"campaign_id": campaign_id, "user_id": 0, "at_gate": 77, "issued": None}),
        ("R2", {"campaign_id": campaign_id, "user_id": issuance.user_id, "at_gate": None, "issued": issuance.pk}),
    ]


def test_r1_to_r3_name_a_claim_that_was_never_recorded(gates):
    campaign_id = gates.campaign_ids[0]
    answer = gate.claim(campaign_id=campaign_id, user_id=1)
    assert answer.outcome == "placed"

    violations = found_in_redis()
    assert violations[0] == ("R1", {"campaign_id": campaign_id, "taken": 5, "issued": 4})
    assert violations[1] == (
        "R2",
        {"campaign_id": campaign_id, "user_id": 1, "at_gate": answer.issuance_id, "issued": None},
    )
    (_, in_stream), (_, pending) = violations[2:]
    assert (in_stream["user"], in_stream["issuance"]) == ("1", str(answer.issuance_id))
    assert pending == {"pending": str(answer.issuance_id), "place": f"{campaign_id}:1:5"}
    assert [name for name, _ in violations] == ["R1", "R2", "R3", "R3"]


def test_while_claims_are_under_way_r1_to_r3_are_not_judged(gates):
    gate.claim(campaign_id=gates.campaign_ids[0], user_id=1)
    assert compare_redis(drained=False) == ([], ["R1", "R2", "R3"])


def test_r4_names_the_terms_a_gate_has_wrong(gates):
    campaign_id = gates.campaign_ids[0]
    connections.gate().hset(gate.gate_key(campaign_id), "total", 11)
    assert found_in_redis() == [("R4", {"campaign_id": campaign_id, "total": 11})]
    later = Campaign.objects.get(pk=campaign_id).closes_at + timedelta(seconds=1)
    Campaign.objects.filter(pk=campaign_id).update(total_quantity=11, closes_at=later)
    [(name, row)] = found_in_redis()
    assert (name, row) == ("R4", {"campaign_id": campaign_id, "closes_at": int(later.timestamp() * 1_000) - 1_000})


@pytest.mark.parametrize("stale", [{"run_id": "another"}, {"version": "99"}])
def test_a_gate_that_is_not_in_use_is_not_judged(gates, stale):
    key = gate.gate_key(gates.campaign_ids[0])
    connections.gate().hset(key, mapping={"taken": 9, "total": 1} | stale)
    assert found_in_redis() == []
