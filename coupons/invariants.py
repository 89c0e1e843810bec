"""What must hold between campaigns and issuances, and between PostgreSQL and the gate in Redis."""

from typing import Any

from coupons.models import Campaign, Issuance
from coupons.states import Status
from shop import connections
from shop.invariants import Row, backlog, invariant, redis_invariant

CLAIMS, PENDING = "gate:claims", "gate:pending"  # the gate stands above this module; a test compares them


@invariant("C1", "issued = issuances <= total, one per user, positions 1..n")
def places() -> str:
    # While claims are being recorded positions may be taken out of order; the last condition needs a drained gate.
    return """
        WITH counted AS (
            SELECT campaign_id, count(*) AS issuances, count(DISTINCT user_id) AS users,
                   count(DISTINCT position) AS places, min(position) AS first, max(position) AS last
            FROM coupons_issuance WHERE status <> 'rejected' GROUP BY campaign_id
        )
        SELECT c.id AS campaign_id, issued, total_quantity, coalesce(issuances, 0) AS issuances,
               coalesce(users, 0) AS users, coalesce(last, 0) AS last_position
        FROM coupons_campaign c LEFT JOIN counted ON campaign_id = c.id
        WHERE issued <> coalesce(issuances, 0) OR issued > total_quantity OR users <> issuances
           OR %(drained)s AND (places <> issuances OR first <> 1 OR last <> issuances)
        ORDER BY c.id
    """


def _redis() -> Any:
    return connections.gate()  # redis-py types every answer as what any client of it could return


@backlog("claims at the gate")
def claims() -> int:
    return int(_redis().xlen(CLAIMS))


def _gates() -> dict[int, dict[str, str]]:
    """
    Return the gates in use, by campaign.

    A gate of another server or version is not in use: the next caller demolishes it (Note [Gate versions]).
    """
    redis = _redis()
    run_id, found = redis.info("server")["run_id"], {}
    for campaign_id, version in Campaign.objects.values_list("pk", "gate_version"):
        fields = {key.decode(): value.decode() for key, value in redis.hgetall(f"gate:{campaign_id}").items()}
        if fields.get("run_id") == run_id and fields.get("version") == str(version):
            found[campaign_id] = fields
    return found


@redis_invariant("R1", "places taken at a gate = coupons issued", needs_drained=True)
def taken() -> list[Row]:
    gates = _gates()
    issued = Campaign.objects.in_bulk(gates)
    return [
        {"campaign_id": pk, "taken": int(gate["taken"]), "issued": issued[pk].issued}
        for pk, gate in gates.items()
        if int(gate["taken"]) != issued[pk].issued
    ]


@redis_invariant("R2", "users with a place at a gate = users with an issuance", needs_drained=True)
def users() -> list[Row]:
    found: list[Row] = []
    for campaign_id in _gates():
        places = _redis().hgetall(f"gate:{campaign_id}:users")
        at_gate = {int(user): int(place.partition(b":")[2]) for user, place in places.items()}
        issuances = Issuance.objects.filter(campaign_id=campaign_id).exclude(status=Status.REJECTED)
        recorded = dict(issuances.values_list("user_id", "pk"))
        found += [
            {"campaign_id": campaign_id, "user_id": user, "at_gate": at_gate.get(user), "issued": recorded.get(user)}
            for user in sorted(at_gate.keys() | recorded.keys())
            if at_gate.get(user) != recorded.get(user)
        ]
    return found


@redis_invariant("R3", "no claim waits to be recorded", needs_drained=True)
def waiting_claims() -> list[Row]:
    redis = _redis()
    found: list[Row] = [
        {"entry": entry.decode(), **{key.decode(): value.decode() for key, value in fields.items()}}
        for entry, fields in redis.xrange(CLAIMS)
    ]
    return found + [{"pending": key.decode(), "place": place.decode()} for key, place in redis.hgetall(PENDING).items()]


@redis_invariant("R4", "a gate knows its campaign's terms", needs_drained=False)
def terms() -> list[Row]:
    gates, found = _gates(), []
    for pk, campaign in Campaign.objects.in_bulk(gates).items():
        should_be: dict[str, Any] = {
            "total": campaign.total_quantity,
            "opens_at": int(campaign.opens_at.timestamp() * 1_000),
            "closes_at": int(campaign.closes_at.timestamp() * 1_000),
        }
        known = {name: int(gates[pk].get(name, -1)) for name in should_be}
        if known != should_be:
            wrong = [name for name in should_be if known[name] != should_be[name]]
            found.append({"campaign_id": pk} | {name: known[name] for name in wrong})
    return found
