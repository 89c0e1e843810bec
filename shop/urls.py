from django.urls import path

from shop import api

urlpatterns = [
    path("auth/signup", api.SignUp.as_view()),
    path("auth/token", api.ObtainToken.as_view()),
    path("auth/token/refresh", api.RefreshToken.as_view()),
    path("livez", api.Liveness.as_view()),
    path("readyz", api.Readiness.as_view()),
]
