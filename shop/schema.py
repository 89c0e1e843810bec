"""How accounts and health look in the OpenAPI document."""

from shop import api, errors
from shop.openapi import ID, TEXT, Answer, Operation, describe, describe_page, one_of, record

ACCOUNT = record("Account", user_id=ID, username=TEXT)
TOKENS = record(
    "Tokens", about="The access token goes into `Authorization: Bearer`.", access=TEXT, refresh=TEXT, user_id=ID
)
NEW_TOKENS = record("NewTokens", access=TEXT, refresh=TEXT)
CHECK = record("Check", optional=["reason"], ok={"type": "boolean"}, ms={"type": "number", "minimum": 0}, reason=TEXT)
ALIVE = record("Liveness", status={"const": "ok"})
READINESS = record(
    "Readiness",
    optional=["checks"],
    status=one_of(["ok", "unavailable"]),
    checks=record("Checks", database=CHECK, redis=CHECK, workers=CHECK),
)

describe(
    api.SignUp,
    "post",
    Operation(
        name="sign_up",
        tag="Accounts",
        body=api.NEW_CREDENTIALS,
        answers=(Answer(201, "The user exists.", ACCOUNT),),
        failures=(errors.UsernameTaken,),
    ),
)
describe(
    api.ObtainToken,
    "post",
    Operation(
        name="obtain_token",
        tag="Accounts",
        body=api.CREDENTIALS,
        answers=(Answer(200, "A pair of tokens.", TOKENS),),
        failures=(errors.InvalidCredentials, errors.TooManyRequests),
    ),
)
describe(
    api.RefreshToken,
    "post",
    Operation(
        name="refresh_token",
        tag="Accounts",
        body=api.REFRESH,
        answers=(Answer(200, "A new pair of tokens.", NEW_TOKENS),),
        failures=(errors.InvalidToken,),
    ),
)
describe(
    api.Liveness,
    "get",
    Operation(name="liveness", tag="Operations", answers=(Answer(200, "The process answers.", ALIVE),)),
)
describe(
    api.Readiness,
    "get",
    Operation(
        name="readiness",
        tag="Operations",
        answers=(
            Answer(200, "Everything works.", READINESS),
            Answer(503, "Something does not.", READINESS, ("Cache-Control", "Retry-After")),
        ),
    ),
)

describe_page(
    "/openapi.json", "openapi", "This document.", media_type="application/json", headers=("Cache-Control", "ETag")
)
describe_page("/docs", "docs", "Interactive documentation.", media_type="text/html")
describe_page("/docs/problems", "problem_types", "What each problem's `type` points to.", media_type="text/html")
