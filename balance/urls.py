from django.urls import path

from balance import api

urlpatterns = [
    path("balance/charge", api.ChargeBalance.as_view()),
    path("balance/<digits:user_id>", api.ShowBalance.as_view()),
    path("balance/<digits:user_id>/transfers", api.ListTransfers.as_view()),
]
