from django.urls import path

from coupons import api

urlpatterns = [
    path("coupons", api.ListCampaigns.as_view()),
    path("coupons/issue", api.ClaimCoupon.as_view()),
    path("coupons/mine", api.ListIssuances.as_view()),
    path("coupons/issuances/<id64:issuance_id>", api.ShowIssuance.as_view()),
    path("coupons/<id64:coupon_id>", api.ShowCampaign.as_view()),
]
