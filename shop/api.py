"""Accounts over HTTP, and how the shop is."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from shop import accounts, health, jsontext
from shop.endpoint import Endpoint, private
from shop.inputs import Object, Text, read_body

NEW_CREDENTIALS = Object(username=accounts.NAME, password=Text(1, 1_000, secret=True))
CREDENTIALS = Object(username=accounts.NAME, password=Text(1, 1_000, secret=True))
REFRESH = Object(refresh=Text(1, 4_096))


class SignUp(Endpoint):
    """Create a user; a wallet with balance 0 exists from then on."""

    authentication_classes = []

    def post(self, request: HttpRequest) -> HttpResponse:
        body = read_body(request, NEW_CREDENTIALS)
        user = accounts.sign_up(username=body["username"], password=body["password"], now=timezone.now())
        return private({"user_id": user.pk, "username": user.username}, status=201)


class ObtainToken(Endpoint):
    """Trade a name and a password for a pair of tokens."""

    authentication_classes = []

    def post(self, request: HttpRequest) -> HttpResponse:
        body = read_body(request, CREDENTIALS)
        return private(accounts.obtain_tokens(username=body["username"], password=body["password"]))


class RefreshToken(Endpoint):
    """Trade a refresh token for a new pair; the old one is spent."""

    authentication_classes = []

    def post(self, request: HttpRequest) -> HttpResponse:
        return private(accounts.refresh_tokens(refresh=read_body(request, REFRESH)["refresh"]))


class Liveness(Endpoint):
    """
    Whether the process answers; touches nothing.

    A GET does not come this far: config.wsgi answers it before anything else can be in its way.
    """

    authentication_classes = []

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(health.ALIVE, content_type="application/json", headers={"Cache-Control": "no-store"})


class Readiness(Endpoint):
    """Whether the shop can work: database, Redis, workers; `?verbose` tells per check."""

    authentication_classes = []

    def get(self, request: HttpRequest) -> HttpResponse:
        checks = health.check_all()
        is_ready = all(check["ok"] for check in checks.values())
        document: dict[str, object] = {"status": "ok" if is_ready else "unavailable"}
        if "verbose" in request.GET:
            document["checks"] = checks
        response = HttpResponse(
            jsontext.dump(document), status=200 if is_ready else 503, content_type="application/json"
        )
        response["Cache-Control"] = "no-store"
        if not is_ready:
            response["Retry-After"] = "2"
        return response
