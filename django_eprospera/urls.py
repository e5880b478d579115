"""URLs of the package's own pages. Include them at the same prefix as python-social-auth's, and before those:

    path("", include("django_eprospera.urls")),
    path("", include("social_django.urls", namespace="social")),

Then a GET of python-social-auth's begin URL, which takes POST only, shows a page with the sign-in button.
"""

from __future__ import annotations

from django.urls import path
from social_django.urls import extra

from django_eprospera import views

__all__ = ["app_name", "urlpatterns"]

app_name = "eprospera"
urlpatterns = [
    path(f"login/eprospera{extra}", views.begin, name="begin"),
    path("eprospera/refresh/", views.refresh, name="refresh"),
    path("eprospera/disconnect/", views.disconnect, name="disconnect"),
    path("eprospera/switch-account/", views.switch_account, name="switch_account"),
    path("eprospera/image/<uuid:pk>/", views.image, name="image"),
    path("eprospera/image/<uuid:pk>/small/", views.thumbnail, name="thumbnail"),
    path("eprospera/document/<uuid:pk>/", views.document, name="document"),
    path("eprospera/audit-key/", views.audit_key, name="audit_key"),
    path("eprospera/confirm-identity/", views.confirm_identity, name="confirm_identity"),
    path("eprospera/other-sessions/", views.other_sessions, name="other_sessions"),
    path("eprospera/confirm-sign-in/", views.confirm_sign_in, name="confirm_sign_in"),
]
