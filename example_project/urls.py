"""URLs of the example site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from example_project import views

urlpatterns = [
    path("", views.home, name="home"),
    path(
        "favicon.ico", RedirectView.as_view(url="/static/example_project/mark.svg")
    ),  # requested by the pages of the admin
    path("account/", views.account, name="account"),
    path("account/delete/", views.delete_account, name="delete_account"),
    path("members/", views.members, name="members"),
    path("vault/", views.vault, name="vault"),
    path("vault/withdraw/", views.withdraw, name="withdraw"),
    path("sign-out/", LogoutView.as_view(), name="sign_out"),
    path("admin/", admin.site.urls),
    path("", include("django_eprospera.urls")),
    path("", include("social_django.urls", namespace="social")),
]
