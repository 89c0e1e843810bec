"""
What the log of a running shop may hold: what it says is read line by line, so no line may be a client's.

The web, the worker and the clock write one JSON object a line. gunicorn's own few lines and the engines' are text.
"""

import json
import re

PREFIX = re.compile(r"(up|postgres|valkey|web|worker|beat|metrics) *\| (.*)")
WELCOME = re.compile(r"-{100}|  \S.*|")  # the box that `up` draws once
FROM_THE_SERVER = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] .*")
IN_JSON = ("web", "worker", "beat")
SECRETS = re.compile(r"argon2|eyJ[\w-]{8,}\.|plum-tractor|correct horse|Bearer \w")


def faults(text: str, *, forged: str = "FAKE") -> list[str]:
    """Return what is wrong with a log, line by line; no line may be, or look like being, the `forged` words."""
    return [f"{fault}: {line[:300]!r}" for line in text.split("\n") if (fault := _fault(line, forged))]


def _fault(line: str, forged: str) -> str:
    if SECRETS.search(line):
        return "a secret"
    found = PREFIX.fullmatch(line)
    if found is None:
        return "" if WELCOME.fullmatch(line) else "of no part"
    part, said = found.groups()
    if not said.replace("\t", " ").isprintable():  # PostgreSQL indents the rest of a statement with a tab
        return "control characters"
    if said.lstrip().startswith(forged):
        return "forged"
    if part not in IN_JSON or FROM_THE_SERVER.fullmatch(said):
        return ""
    return _fault_in_json(said, forged)


def _fault_in_json(said: str, forged: str) -> str:
    try:
        event = json.loads(said)
    except ValueError:
        return "no JSON"
    if not isinstance(event, dict) or not {"event", "level", "timestamp"} <= event.keys():
        return "no event"
    return "forged" if forged in event or str(event["event"]).startswith(forged) else ""
