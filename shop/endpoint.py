"""
The lean DRF view every endpoint is: token, one call, bytes. No negotiation, no generic throttle, no DRF request.

DRF's `APIView` with authentication costs 3.6 empty views, this base 2.2 (docs/decisions/0008); it stays an `APIView`
so that drf-spectacular documents it.
"""

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext_noop as _
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from shop import jsontext, problems
from shop.auth import BearerToken, Caller, caller_of
from shop.errors import InvalidInput, MethodNotAllowed
from shop.idempotency import Key

KEY_LIMIT = 255  # API.md "Idempotency-Key"
RETRY_AFTER_ACCEPTED = "1"  # seconds; a quiet shop settles in far less


class Endpoint(APIView):
    """One address; each HTTP method is validate -> one call -> serialise."""

    authentication_classes = [BearerToken]
    permission_classes = []
    renderer_classes = [JSONRenderer]
    parser_classes = [JSONParser]
    http_method_names = ["get", "post", "head", "options"]
    caller: Caller
    key: Key | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs, self.headers = args, kwargs, {}
        try:
            method = request.method.lower() if request.method else ""
            answer = getattr(self, method, None) if method in self.http_method_names else None
            if answer is None:
                raise MethodNotAllowed
            if self.authentication_classes and method != "options":
                self.caller = caller_of(request)
            response: HttpResponseBase = answer(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the one handler: every exception becomes a problem document
            response = problems.response_for(error, request)
            if response.status_code == 405:
                response["Allow"] = ", ".join(self.allowed_methods)
        if self.key is not None and self.key.replayed:
            response["Idempotent-Replayed"] = "true"
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Name the methods of this address."""
        return HttpResponse(status=204, headers={"Allow": ", ".join(self.allowed_methods)})

    def read_key(self, request: HttpRequest, route: str, body: dict[str, Any]) -> Key | None:
        """Return the request's idempotency key, if it has one, with a fingerprint of the validated body."""
        text = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if text is None:
            return None
        if not 1 <= len(text) <= KEY_LIMIT or not text.isascii() or not text.isprintable():
            detail = _("Must have from 1 to 255 printable ASCII characters.")
            raise InvalidInput(errors=[{"pointer": "Idempotency-Key", "code": "bad_key", "detail": detail}])
        canonical = jsontext.dump(sorted(body.items()))
        fingerprint = hashlib.sha256(canonical).digest()
        self.key = Key(user_id=self.caller.user_id, route=route, key=text, fingerprint=fingerprint)
        return self.key


def private(document: Any, *, status: int = 200, **headers: str) -> HttpResponse:
    """Return a JSON answer that only its caller may see and nobody may keep."""
    response = HttpResponse(jsontext.dump(document), status=status, content_type="application/json")
    response["Cache-Control"] = "private, no-store"
    for name, value in headers.items():
        response[name.replace("_", "-")] = value
    return response


def accepted(document: Any, *, location: str) -> HttpResponse:
    """Return 202: the work has been recorded and finishes by itself; `location` shows how far it is."""
    return private(document, status=202, Location=location, Retry_After=RETRY_AFTER_ACCEPTED)
