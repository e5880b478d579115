"""URLs of the package's own pages: `path("eprospera/", include("django_eprospera.urls"))`."""

from __future__ import annotations

from django.urls import path

from django_eprospera import views

__all__ = ["app_name", "urlpatterns"]

app_name = "eprospera"
urlpatterns = [
    path("refresh/", views.refresh, name="refresh"),
    path("disconnect/", views.disconnect, name="disconnect"),
    path("image/<uuid:pk>/", views.image, name="image"),
    path("document/<uuid:pk>/", views.document, name="document"),
    path("confirm-identity/", views.confirm_identity, name="confirm_identity"),
    path("other-sessions/", views.other_sessions, name="other_sessions"),
    path("confirm-sign-in/", views.confirm_sign_in, name="confirm_sign_in"),
]
