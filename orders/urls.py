from django.urls import path

from orders import api

urlpatterns = [
    path("orders", api.Orders.as_view()),
    path("orders/<id64:order_id>", api.ShowOrder.as_view()),
    path("orders/<id64:order_id>/cancel", api.CancelOrder.as_view()),
]
