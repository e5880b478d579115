"""The endpoints that a client's server calls: token, revoke and introspect, and the device endpoint that always refuses.

Checked here, because the provider refuses what oauthlib and django-oauth-toolkit accept: two client authentication methods
in one request, repeated parameters, bodies that are not forms (docs/provider.md#token, docs/provider.md#revoke-and-introspect).
"""

from __future__ import annotations

import json
from typing import Any

import jwt
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from django_eprospera.sandbox import state, tamper
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.models import AccessToken, RefreshToken, checksum
from django_eprospera.sandbox.validators import core

__all__ = ["device", "introspect", "revoke", "token"]

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _error(error: str, description: str = "", status: int = 400) -> JsonResponse:
    body = {"error": error} | ({"error_description": description} if description else {})
    return JsonResponse(body, status=status, headers=_NO_STORE)


def _refusal(request: HttpRequest) -> JsonResponse | None:
    """Return the error response to a malformed form post, or None."""
    if request.content_type != "application/x-www-form-urlencoded":
        return _error("invalid_request", "The body must be application/x-www-form-urlencoded")
    if request.GET:
        return _error("invalid_request", "Parameters belong in the body, not in the URL")
    if repeated := [name for name in request.POST if len(request.POST.getlist(name)) > 1]:
        return _error("invalid_request", f"Sent more than once: {', '.join(sorted(repeated))}")
    if "Authorization" in request.headers and {"client_id", "client_secret"} & set(request.POST):
        return _error(
            "invalid_request", "More than one client authentication method: use HTTP Basic or the body, not both"
        )
    return None


def _response(body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json", headers=_NO_STORE)
    if status == 401:
        # RFC 6749 section 5.2
        response["WWW-Authenticate"] = 'Basic realm="eprospera", charset="UTF-8"'
    return response


@endpoint("POST")
def token(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/token: exchange a code, or rotate a refresh token."""
    grant_type = request.POST.get("grant_type", "")
    named = grant_type if grant_type in ("authorization_code", "refresh_token") else "other"
    response = _refusal(request) or _token(request, grant_type)
    state.count(f"grant {named} {response.status_code}")
    return response


def _token(request: HttpRequest, grant_type: str) -> HttpResponse:
    needed = {"authorization_code": ("code", "redirect_uri"), "refresh_token": ("refresh_token",)}
    if not grant_type:
        return _error("invalid_request", "Missing: grant_type")
    if grant_type not in needed:
        return _error("unsupported_grant_type", "Known: authorization_code, refresh_token")
    # With the lock, the second of two simultaneous uses sees the first. Errors do not raise, so an ended grant is committed.
    with state.write_lock, transaction.atomic():
        if missing := [name for name in needed[grant_type] if not request.POST.get(name)]:
            return _error("invalid_request", f"Missing: {', '.join(missing)}")
        *_, body, status = core().create_token_response(request)
    if status == 200:
        body = json.dumps(tamper.apply("token", json.loads(body)))
    return _response(body, status)


@endpoint("POST")
def revoke(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/revoke: 200 and an empty body, also for a token that is no longer valid (RFC 7009)."""
    if refusal := _refusal(request):
        return refusal
    with state.write_lock, transaction.atomic():
        *_, body, status = core().create_revocation_response(request)
    return _response(body, status)


@endpoint("POST")
def introspect(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/introspect: the state of one of this client's own tokens (RFC 7662).

    django-oauth-toolkit's view cannot be used: it requires a token with the scope `introspection`, does not find refresh
    tokens, describes tokens of other clients, and omits sub, iat, jti and iss (docs/provider.md#revoke-and-introspect).
    """
    if refusal := _refusal(request):
        return refusal
    if not core().authenticate_client(request):
        return _response(json.dumps({"error": "invalid_client"}), 401)
    if not request.POST.get("token"):
        return _error("invalid_request", "Missing: token")
    return JsonResponse(_introspect(request.POST["token"]), headers=_NO_STORE)


def _introspect(value: str) -> dict[str, Any]:
    client_id, now = state.options().client_id, timezone.now()
    valid = {"token_checksum": checksum(value), "application__client_id": client_id, "expires__gt": now}
    token: RefreshToken | AccessToken | None
    if value.startswith("rt_"):
        token = RefreshToken.objects.select_related("consent").filter(**valid, revoked=None).first()
        if token is None:
            return {"active": False}
        kind, scope = "refresh_token", token.consent.scope
        claims = {"exp": int(token.expires.timestamp()), "iat": int(token.created.timestamp())}
    else:
        token = AccessToken.objects.filter(**valid).first()
        if token is None:
            return {"active": False}
        kind, scope = "Bearer", token.scope
        # The checksum proves that the sandbox issued the token; the signature need not be verified again.
        payload = jwt.decode(value, options={"verify_signature": False})
        claims = {name: payload[name] for name in ("exp", "iat", "jti", "aud", "iss")}
    sub = str(token.user_id)
    about = {"scope": scope, "client_id": client_id, "username": sub, "sub": sub, "token_type": kind}
    return {"active": True} | about | claims


@endpoint("POST")
def device(_request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/device_authorization: named by the metadata, not offered to the sandbox's client."""
    return _error("unauthorized_client", "The sandbox does not offer the device flow")
