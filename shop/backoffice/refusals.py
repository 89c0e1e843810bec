"""Why something was not done, in the operator's language."""

from django.utils.translation import gettext

from shop import db
from shop.errors import Failure
from shop.problems import failure_for

EXPECTED = (Failure, *db.TROUBLE)
"""What an operator's action may end in without anybody's fault: a refusal, a lock or statement time-out, an outage."""


def explain(error: Exception) -> str:
    """Return title and detail of a refusal as one line."""
    failure = failure_for(error)
    detail = gettext(failure.detail) % failure.facts() if failure.detail else ""
    return f"{gettext(failure.title)}. {detail}".strip()
