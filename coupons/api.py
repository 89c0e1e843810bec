"""Coupons over HTTP."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from coupons import flows, places, queries
from coupons.errors import IssuanceNotFound
from coupons.states import PENDING, Status
from shop import cursors, representations, throttle
from shop.endpoint import Endpoint, accepted, private
from shop.inputs import BIGINT_MAX, Choice, Integer, Object, read_body, read_query

CLAIM = Object(coupon_id=Integer(1, BIGINT_MAX))
CAMPAIGNS_SCOPE, ISSUANCES_SCOPE = "coupons", "coupons/mine"
MAX_AGE_SECONDS = 1
OWN_PARAMETERS = {**cursors.PAGE_PARAMETERS, "status": Choice((PENDING, *Status.values))}


class ListCampaigns(Endpoint):
    """Open and upcoming campaigns, newest first."""

    authentication_classes = []

    def get(self, request: HttpRequest) -> HttpResponse:
        query = read_query(request, cursors.PAGE_PARAMETERS)
        url = request.build_absolute_uri("/coupons")

        def make() -> tuple[object, str]:
            position = cursors.decode(query["cursor"], CAMPAIGNS_SCOPE) if query["cursor"] else None
            page = queries.list_campaigns(size=query["size"], position=position, now=timezone.now())
            return cursors.envelope(url, query, page, CAMPAIGNS_SCOPE)

        found = representations.get(f"{url}?{query['size']}&{query['cursor']}", make)
        return representations.respond(request, found, max_age=MAX_AGE_SECONDS)


class ShowCampaign(Endpoint):
    """One campaign."""

    authentication_classes = []

    def get(self, request: HttpRequest, coupon_id: int) -> HttpResponse:
        def make() -> tuple[object, str]:
            return queries.get_campaign(campaign_id=coupon_id), ""

        found = representations.get(f"coupon/{coupon_id}", make)
        return representations.respond(request, found, max_age=MAX_AGE_SECONDS)


class ClaimCoupon(Endpoint):
    """Take a place in a campaign, first come, first served."""

    def post(self, request: HttpRequest) -> HttpResponse:
        throttle.take(throttle.CLAIMS, self.caller.user_id)
        body = read_body(request, CLAIM)
        key = self.read_key(request, "coupons/issue", body)
        claimed = flows.claim_coupon(
            user_id=self.caller.user_id, campaign_id=body["coupon_id"], key=key, now=timezone.now()
        )
        document = {
            "issuance_id": claimed.issuance_id,
            "coupon_id": claimed.coupon_id,
            "status": PENDING,
            "position": claimed.position,
        }
        return accepted(document, location=f"/coupons/issuances/{claimed.issuance_id}")


class ShowIssuance(Endpoint):
    """One of the caller's coupons, recorded or still on its way."""

    def get(self, request: HttpRequest, issuance_id: int) -> HttpResponse:
        found = places.show_issuance(issuance_id=issuance_id, user_id=self.caller.user_id, now=timezone.now())
        if found is None:
            raise IssuanceNotFound
        return private(found)


class ListIssuances(Endpoint):
    """The caller's coupons, newest first; the first page begins with claims still on their way."""

    def get(self, request: HttpRequest) -> HttpResponse:
        query = read_query(request, OWN_PARAMETERS)
        scope = f"{ISSUANCES_SCOPE}?{query['status']}"
        position = cursors.decode(query["cursor"], scope) if query["cursor"] else None
        page = places.list_issuances(
            user_id=self.caller.user_id,
            status=query["status"],
            size=query["size"],
            position=position,
            now=timezone.now(),
        )
        return cursors.listed(request, query, page, scope)
