"""The endpoints that a client's server calls: token, revoke and introspect.

Checked before oauthlib is called, because the provider refuses what oauthlib accepts: two client authentication methods in one
request, repeated parameters, bodies that are not forms (docs/provider.md#token, docs/provider.md#revoke-and-introspect).
"""

from __future__ import annotations

import json

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from oauthlib.common import urlencode

from django_eprospera.sandbox import device
from django_eprospera.sandbox.clients import DEVICE_CODE
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.models import DeviceCode
from django_eprospera.sandbox.state import current
from django_eprospera.sandbox.token_errors import NO_STORE, malformed, token_error
from django_eprospera.sandbox.validators import core

__all__ = ["introspect", "revoke", "token"]

# The fields that each grant type needs, and its name in the counters.
_GRANTS = {
    "authorization_code": (("code", "redirect_uri"), "authorization_code"),
    "refresh_token": (("refresh_token",), "refresh_token"),
    DEVICE_CODE: (("device_code", "client_id"), "device_code"),
}


def _response(body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json", headers=dict(NO_STORE))
    if status == 401:
        # RFC 6749 section 5.2
        response["WWW-Authenticate"] = 'Basic realm="eprospera", charset="UTF-8"'
    return response


@endpoint("POST")
def token(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/token: exchange a code, rotate a refresh token, or poll for a device."""
    grant_type = request.POST.get("grant_type", "")
    _, counted = _GRANTS.get(grant_type, ((), "other"))
    response = malformed(request) or _token(request, grant_type)
    current().count(f"grant {counted} {response.status_code}")
    return response


def _token(request: HttpRequest, grant_type: str) -> HttpResponse:
    if not grant_type:
        return token_error("invalid_request", "Missing: grant_type")
    if grant_type not in _GRANTS:
        return token_error("unsupported_grant_type", f"Known: {', '.join(_GRANTS)}")
    needed, _ = _GRANTS[grant_type]
    if missing := [name for name in needed if not request.POST.get(name)]:
        return token_error("invalid_request", f"Missing: {', '.join(missing)}")
    # With the lock, the second of two simultaneous uses sees the first. Errors do not raise, so an ended grant is committed.
    with current().write_lock, transaction.atomic():
        if grant_type == DEVICE_CODE:
            if not core().authenticate_client(request):
                return _response(json.dumps({"error": "invalid_client"}), 401)
            if error := device.poll(request.POST["device_code"], request.POST["client_id"]):
                return token_error(error)
        *_, body, status = core().create_token_response(request)
        if grant_type == DEVICE_CODE and status == 200:
            DeviceCode.objects.filter(device_code=request.POST["device_code"]).delete()
    if status == 200:
        body = json.dumps(current().tampering.apply("token", json.loads(body)))
    return _response(body, status)


@endpoint("POST")
def revoke(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/revoke: 200 and an empty body, also for a token that is no longer valid (RFC 7009)."""
    if refusal := malformed(request):
        return refusal
    with current().write_lock, transaction.atomic():
        *_, body, status = core().create_revocation_response(request)
    return _response(body, status)


@endpoint("POST")
def introspect(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/introspect: the state of one of this client's own tokens (RFC 7662).

    oauthlib's endpoint is called directly. django-oauth-toolkit's view requires a token with the scope `introspection` and
    describes tokens of other clients.
    """
    if refusal := malformed(request):
        return refusal
    form, headers = urlencode(core().extract_body(request)), core().extract_headers(request)
    _, body, status = core().server.create_introspect_response(request.path, "POST", form, headers)
    return _response(body, status)
