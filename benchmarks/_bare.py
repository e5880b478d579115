"""What `sign_in` compares with: python-social-auth's OpenID Connect base class, with PKCE, and its routes."""

from django.urls import include, path
from social_core.backends.open_id_connect import OpenIdConnectAuth


class Backend(OpenIdConnectAuth):
    name = "bare"
    DEFAULT_USE_PKCE = True


urlpatterns = [path("", include("social_django.urls", namespace="social"))]
