"""Routes of the test suite."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("django_eprospera.urls")),
    path("", include("social_django.urls", namespace="social")),
]
