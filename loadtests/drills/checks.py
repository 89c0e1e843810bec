"""What a drill is judged by: first what is held for every drill, then what this fault must look like."""

from collections import Counter

from loadtests.drills.history import Outcome
from loadtests.drills.incident import Check, Incident
from loadtests.drills.times import Times

SETTLED_SECONDS = 30.0


def check(found: Incident) -> list[Check]:
    """Return every check, the ones held for all drills first."""
    expected = _expected(found, found.times) if found.times else []
    return [*_held(found), *expected, *_customers(found)]


def _held(found: Incident) -> list[Check]:
    attempts = found.attempts
    statuses = Counter(attempt.status for attempt in attempts)
    wrong = sum(count for status, count in statuses.items() if status >= 500 and status != 503)
    mute = sum(1 for attempt in attempts if attempt.status == 503 and not attempt.retry_after)
    lost = [finding for finding in found.findings if finding.key in ("lost", "left_behind")]
    doubled = [finding for finding in found.findings if finding.key == "doubled"]
    others = len(found.findings) - len(lost) - len(doubled)
    drained = found.times.to_drain if found.times else None
    return [
        Check(key="felt", is_ok=bool(found.proofs) and not found.fault_error, values={"count": len(found.proofs)}),
        Check(key="nothing_lost", is_ok=not lost, values={"count": len(lost)}),
        Check(key="nothing_doubled", is_ok=not doubled, values={"count": len(doubled)}),
        Check(key="history", is_ok=not others, values={"count": others, "entries": len(found.entries)}),
        Check(key="no_500", is_ok=not wrong, values={"count": wrong}),
        Check(key="retry_after", is_ok=not mute, values={"count": mute, "refused": statuses[503]}),
        Check(key="audit", is_ok=not found.audit, values={"count": len(found.audit)}),
        Check(
            key="settled",
            is_ok=drained is not None and drained <= SETTLED_SECONDS,
            values={"seconds": "–" if drained is None else drained, "limit": SETTLED_SECONDS},
        ),
    ]


def _expected(found: Incident, times: Times) -> list[Check]:
    expect = found.drill.expect
    checks = [
        Check(
            key="recovered",
            is_ok=times.to_recover <= expect.recovered_s,
            values={"seconds": times.to_recover, "limit": expect.recovered_s},
        )
    ]
    for window in expect.noticed_by:
        after = round(times.noticed[window] - times.injected, 2) if window in times.noticed else None
        is_ok = after is not None and after <= expect.noticed_s
        values = {"window": window, "seconds": "–" if after is None else after, "limit": expect.noticed_s}
        checks.append(Check(key="noticed", is_ok=is_ok, values=values))
    return checks


def _customers(found: Incident) -> list[Check]:
    expect = found.drill.expect
    longest = round(max((attempt.end - attempt.start for attempt in found.attempts), default=0.0), 2)
    checks = [
        Check(key="longest", is_ok=longest <= expect.longest_s, values={"seconds": longest, "limit": expect.longest_s})
    ]
    unknown = Counter(
        entry.kind for entry in found.entries if any(attempt.outcome is Outcome.INFO for attempt in entry.attempts)
    )
    if expect.is_unfelt:
        count = sum(unknown.values())
        checks.append(Check(key="unfelt", is_ok=not count, values={"count": count}))
    for kind in expect.unharmed:
        checks.append(Check(key="unharmed", is_ok=not unknown[kind], values={"kind": kind, "count": unknown[kind]}))
    return checks
