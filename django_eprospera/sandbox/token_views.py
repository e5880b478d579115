"""The endpoints that a client's server calls: token, revoke, introspect, and the device endpoint that is not built.

What oauthlib and django-oauth-toolkit let pass and the provider refuses is checked here first: two client authentication
methods at once, repeated parameters, bodies that are not forms. Contract, sections 5 and 7.
"""

from __future__ import annotations

import json
from typing import Any

import jwt
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_eprospera.sandbox import state, tamper
from django_eprospera.sandbox.models import AccessToken, RefreshToken, checksum
from django_eprospera.sandbox.validators import core

__all__ = ["device", "introspect", "revoke", "token"]

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _error(error: str, description: str = "", status: int = 400) -> JsonResponse:
    body = {"error": error} | ({"error_description": description} if description else {})
    return JsonResponse(body, status=status, headers=_NO_STORE)


def _refusal(request: HttpRequest) -> JsonResponse | None:
    """What is wrong with a form post, if anything, before its meaning is looked at."""
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


def _answer(body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status, content_type="application/json", headers=_NO_STORE)
    if status == 401:
        # RFC 6749 section 5.2
        response["WWW-Authenticate"] = 'Basic realm="eprospera", charset="UTF-8"'
    return response


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/token: exchanges a code, or rotates a refresh token."""
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
    # The lock makes the second of two simultaneous uses see what the first has done. What ends a grant is kept: nothing raises.
    with state.write_lock, transaction.atomic():
        if missing := [name for name in needed[grant_type] if not request.POST.get(name)]:
            return _error("invalid_request", f"Missing: {', '.join(missing)}")
        *_, body, status = core().create_token_response(request)
    if status == 200:
        body = json.dumps(tamper.apply("token", json.loads(body)))
    return _answer(body, status)


@csrf_exempt
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/revoke: 200 and nothing, also for a token that was not good any more (RFC 7009)."""
    if refusal := _refusal(request):
        return refusal
    with state.write_lock, transaction.atomic():
        *_, body, status = core().create_revocation_response(request)
    return _answer(body, status)


@csrf_exempt
@require_POST
def introspect(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/introspect: the state of one of this client's own tokens (RFC 7662)."""
    if refusal := _refusal(request):
        return refusal
    if not core().authenticate_client(request):
        return _answer(json.dumps({"error": "invalid_client"}), 401)
    if not request.POST.get("token"):
        return _error("invalid_request", "Missing: token")
    return JsonResponse(_state_of(request.POST["token"]), headers=_NO_STORE)


def _state_of(value: str) -> dict[str, Any]:
    given, now = state.options(), timezone.now()
    ours = {"token_checksum": checksum(value), "application__client_id": given.client_id}
    if value.startswith("rt_"):
        refresh = RefreshToken.objects.select_related("consent").filter(**ours, revoked=None, expires__gt=now).first()
        if refresh is None:
            return {"active": False}
        return {
            "active": True, "scope": refresh.consent.scope, "client_id": given.client_id, "username": str(refresh.user_id),
            "sub": str(refresh.user_id), "token_type": "refresh_token", "exp": int(refresh.expires.timestamp()),
            "iat": int(refresh.created.timestamp()),
        }  # fmt: skip
    access = AccessToken.objects.filter(**ours, expires__gt=now).first()
    if access is None:
        return {"active": False}
    # The checksum has shown that the token is ours, byte for byte; its signature need not be looked at again.
    claims = jwt.decode(value, options={"verify_signature": False})
    return {
        "active": True, "scope": access.scope, "client_id": given.client_id, "username": str(access.user_id),
        "sub": str(access.user_id), "token_type": "Bearer", "exp": claims["exp"], "iat": claims["iat"], "jti": claims["jti"],
        "aud": claims["aud"], "iss": claims["iss"],
    }  # fmt: skip


@csrf_exempt
@require_POST
def device(_request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/device_authorization: the metadata has to name it; the sandbox's client may not use it."""
    return _error("unauthorized_client", "The sandbox does not offer the device flow")
