"""
What schemathesis must know of the shop that an OpenAPI document cannot say; it imports this module itself.

The document says what a request looks like. Some good-looking requests are refused all the same, for reasons that are
named here one by one: any other refusal of a request that follows the document is a finding.
"""

import hashlib
import json
import os
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response

OWN_ID = os.environ.get("FUZZ_USER_ID", "1")
LONGEST_TARGET = 4_000  # longer addresses are the web server's (FAULTS.md B40)
UNSTATED_CODES = {
    "invalid_cursor",  # cursors are opaque
    "page_too_deep",  # page times size
    "duplicate_item",  # distinct by one property of the items
}
UNSTATED_ERRORS = {
    "control_character",  # classes of characters differ between regular expressions
    "bad_username",  # its form after normalisation
    *("password_too_similar", "password_too_short", "password_too_common", "password_entirely_numeric"),
    *("empty_range", "with_cursor"),  # two parameters together
}


def has_whole_float(value: Any) -> bool:
    """Say whether 1.0 stands somewhere: an integer to JSON Schema, none to API.md "Conventions"."""
    if isinstance(value, dict):
        return any(map(has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(has_whole_float, value))
    return isinstance(value, float) and value.is_integer()


def is_unstated(problem: dict[str, Any], body: Any) -> bool:
    """Say whether a 400 has a reason that the document cannot state."""
    errors = {error["code"] for error in problem.get("errors", [])}
    allowed = UNSTATED_ERRORS | ({"not_an_integer"} if has_whole_float(body) else set())
    return problem["code"] in UNSTATED_CODES or (bool(errors) and errors <= allowed | UNSTATED_CODES)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Any, case: Case[Any], response: Response) -> bool:
    """Drop the finding that a good-looking request was refused when it was for a reason named above."""
    if failure.code != "ST202" or response.status_code != 400:
        return True
    return not is_unstated(json.loads(response.content), case.body)


@schemathesis.hook
def filter_query(context: HookContext, query: dict[str, Any] | None) -> bool:
    return len(json.dumps(query, default=str)) * 3 < LONGEST_TARGET


def one_in_two(value: Any) -> bool:
    """Choose by the value itself, so that the same case is always the same request."""
    return hashlib.sha256(repr(value).encode(errors="replace")).digest()[0] % 2 == 0


@schemathesis.hook
def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
    """Make every other good-looking request a good one where random values hardly ever are."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    if "user_id" in case.path_parameters and one_in_two(case.path_parameters):
        case.path_parameters["user_id"] = int(OWN_ID)  # nobody guesses their own id
    if case.operation.path == "/auth/signup" and one_in_two(case.body):
        digest = hashlib.sha256(repr(case.body).encode(errors="replace")).hexdigest()
        case.body = {"username": f"fuzz{digest[:12]}", "password": f"plum-{digest[:20]}"}
    return case
