"""Provider metadata and public keys (docs/provider.md#discovery)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse

from django_eprospera.sandbox.clients import DEVICE_CODE
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.state import current
from django_eprospera.scopes import LABELS

__all__ = ["configuration", "jwks"]


@endpoint("GET")
def configuration(_request: HttpRequest) -> JsonResponse:
    """GET /.well-known/openid-configuration and its alias."""
    issuer = current().options.issuer
    oauth = f"{issuer}/api/oauth"
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{oauth}/authorize",
        "device_authorization_endpoint": f"{oauth}/device_authorization",
        "token_endpoint": f"{oauth}/token",
        "userinfo_endpoint": f"{oauth}/userinfo",
        "jwks_uri": f"{oauth}/.well-known/jwks.json",
        "revocation_endpoint": f"{oauth}/revoke",
        "introspection_endpoint": f"{oauth}/introspect",
        "service_documentation": f"{issuer}/",
        "scopes_supported": list(LABELS),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_CODE],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": ["sub", "name", "given_name", "family_name", "email", "email_verified", "picture", "iss", "aud",
                             "exp", "iat", "auth_time", "nonce"],
        "code_challenge_methods_supported": ["S256"],
    }  # fmt: skip
    if current().switches.iss_parameter == "yes":
        document["authorization_response_iss_parameter_supported"] = True
    return JsonResponse(current().tampering.apply("discovery", document))


@endpoint("GET")
def jwks(_request: HttpRequest) -> JsonResponse:
    """GET /api/oauth/.well-known/jwks.json and its alias. Cached for a minute only, because keys can be rotated on demand."""
    return JsonResponse(current().keys.published(), headers={"Cache-Control": "public, max-age=60"})
