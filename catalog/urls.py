from django.urls import path

from catalog import api

urlpatterns = [
    path("products", api.ListProducts.as_view()),
    path("products/top-selling", api.TopSelling.as_view()),
    path("products/<id64:product_id>", api.ShowProduct.as_view()),
]
