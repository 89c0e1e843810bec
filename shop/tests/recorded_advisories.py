"""
pip-audit itself, with recorded answers in place of the network: run as a program by test_advisories.

The file named first on its command line maps "name/version" to what the service answers: a list of vulnerabilities,
null for a document without any word about them, a status, or "away". What is not named is unknown (404).
"""

import json
import sys
from pathlib import Path
from typing import Any

import pip_audit._service.pypi as service  # type: ignore[import-untyped]  # no stubs
import requests
from pip_audit._cli import audit  # type: ignore[import-untyped]  # likewise

ANSWERS: dict[str, Any] = json.loads(Path(sys.argv.pop(1)).read_text())


class Recorded:
    """What pip-audit thinks is a session of `requests`."""

    def get(self, *, url: str, timeout: int | None) -> requests.Response:
        answer = ANSWERS.get("/".join(url.split("/")[-3:-1]), 404)
        if answer == "away":
            raise requests.ConnectTimeout
        response = requests.Response()
        response.status_code = answer if isinstance(answer, int) else 200
        document = {"info": {}} if answer is None else {"info": {}, "vulnerabilities": answer}
        response._content = json.dumps(document).encode()
        return response


service.caching_session = lambda cache_dir: Recorded()  # all it is asked for
audit()
