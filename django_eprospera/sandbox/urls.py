"""URLs of the sandbox: the provider's own paths, then pages, files and the control API."""

from __future__ import annotations

from pathlib import Path

from django.urls import path
from django.views.static import serve

from django_eprospera.sandbox import authorize, control, device, discovery, files, lookup, me, pages, token_views

_STATIC = Path(__file__).parent / "static" / "eprospera_sandbox"

urlpatterns = [
    # The provider (docs/provider.md#endpoints), deprecated aliases included
    path(".well-known/openid-configuration", discovery.configuration),
    path("api/oauth/.well-known/openid-configuration", discovery.configuration),
    path("api/oauth/.well-known/jwks.json", discovery.jwks),
    path(".well-known/jwks.json", discovery.jwks),
    path("api/oauth/authorize", authorize.authorize),
    path("api/oauth/token", token_views.token),
    path("api/oauth/userinfo", me.userinfo),
    path("api/oauth/revoke", token_views.revoke),
    path("api/oauth/introspect", token_views.introspect),
    path("api/oauth/device_authorization", device.authorization),
    path("api/v1/me/natural-person", me.natural_person),
    path("api/v1/me/natural-person/residency", me.residency),
    path("api/v1/me/natural-person/id-verification", me.id_verification),
    path("api/v1/me/natural-person/id_verification", me.id_verification),
    path("api/v1/me/legal-entities", me.legal_entities),
    path("api/v1/me/legal-entities/<str:entity>", me.legal_entity),
    path("api/v1/me/legal-entities/<str:entity>/documents", me.legal_entity_documents),
    path("api/v1/verify_rpn", lookup.verify_rpn),
    # Pages and files
    path("", pages.index, name="index"),
    path("sign-in", pages.sign_in, name="sign-in"),
    path("consent", pages.consent, name="consent"),
    path("device", device.enter_code, name="device"),
    path("device/sign-in", device.sign_in),
    path("device/consent", device.consent),
    path("pictures/<str:sub>.jpg", files.picture),
    path("files/<str:kind>/<str:name>", files.file),
    path("static/<str:path>", serve, {"document_root": _STATIC}, name="static"),
    # Control
    path("_sandbox/health", control.health),
    path("_sandbox/stats", control.stats),
    path("_sandbox/faults", control.fault_list),
    path("_sandbox/switches", control.switch_list),
    path("_sandbox/tamper", control.tampering),
    path("_sandbox/rotate-key", control.rotate_key),
    path("_sandbox/revoke", control.revoke_grants),
    path("_sandbox/represent", control.represent),
    path("_sandbox/personas/<str:sub>", control.change_persona),
    path("_sandbox/grants", control.mint_grants),
    path("_sandbox/clock", control.clock),
    path("_sandbox/sign-in", control.sign_in),
    path("_sandbox/redirect-uris", control.redirect_uris),
    path("_sandbox/reset", control.reset),
]

handler400 = pages.bad_request
handler404 = pages.not_found
handler500 = pages.server_error
