"""The endpoints that take an access token: userinfo and `me/` (docs/provider.md#me-answers, docs/provider.md#errors)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from django_eprospera import scopes
from django_eprospera.sandbox import facts
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.lookup import agent
from django_eprospera.sandbox.models import AccessToken
from django_eprospera.sandbox.state import current
from django_eprospera.sandbox.validators import core

__all__ = [
    "id_verification", "legal_entities", "legal_entity", "legal_entity_documents", "natural_person", "residency", "userinfo",
]  # fmt: skip

_View = Callable[..., HttpResponse]
_NO_STORE = {"Cache-Control": "no-store"}
# Agent Keys open the three endpoints of the natural person.
_AGENT_SCOPES = {scopes.PERSON_DETAILS_READ, scopes.PERSON_RESIDENCY_READ, scopes.PERSON_ID_VERIFICATION_READ}


def _json(body: Any, status: int = 200, **headers: str) -> JsonResponse:
    return JsonResponse(body, status=status, safe=False, headers={**_NO_STORE, **headers})


def _challenge(error: str, status: int, challenge: str) -> JsonResponse:
    return _json({"error": error}, status, **{"WWW-Authenticate": challenge})


def _requires(scope: str) -> Callable[[_View], _View]:
    """Decorator for views that take a valid access token with `scope`, which they get as an argument.

    django-oauth-toolkit checks the token. Its own decorators cannot be used: they return a 403 without a body for each error,
    the provider a status, a body and a challenge (docs/provider.md#errors).
    """

    def decorate(view: _View) -> _View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            kind, _, value = request.headers.get("Authorization", "").partition(" ")
            value = value.strip()
            if kind.lower() != "bearer" or not value:
                return _challenge("missing_token", 401, "Bearer")
            if value.startswith("sk-"):
                return _challenge("Standard API keys are not supported on this endpoint", 403, _insufficient(scope))
            if value.startswith("ak-"):
                if scope not in _AGENT_SCOPES or current().switches.agent_keys == "no":
                    return _challenge("Agent Keys are not supported on this endpoint", 403, _insufficient(scope))
                account = agent(value)
                if account is None:
                    return _challenge("invalid_token", 401, 'Bearer error="invalid_token"')
                return view(request, AccessToken(user=account, scope=scope), *args, **kwargs)
            valid, checked_request = core().verify_request(request, [scope])
            if valid:
                return view(request, checked_request.access_token, *args, **kwargs)
            error = getattr(checked_request, "oauth2_error", None) or {}
            if error.get("error") == "insufficient_scope":
                return _missing(scope)
            return _challenge("invalid_token", 401, 'Bearer error="invalid_token"')

        return checked

    return decorate


def _insufficient(scope: str) -> str:
    return f'Bearer error="insufficient_scope", scope="{scope}"'


def _missing(scope: str) -> JsonResponse:
    if scope == scopes.OPENID:
        return _challenge("insufficient_scope", 403, _insufficient(scope))
    switches = current().switches
    error = (
        f"missing_scopes: {scope}" if switches.missing_scope_error == "missing_scopes" else switches.missing_scope_error
    )
    return _challenge(error, switches.missing_scope_status, _insufficient(scope))


@endpoint("GET", "POST")
@_requires(scopes.OPENID)
def userinfo(_request: HttpRequest, token: AccessToken) -> HttpResponse:
    """GET and POST /api/oauth/userinfo."""
    return _json(current().tampering.apply("userinfo", facts.claims(token.user, set(token.scope.split()))))


@endpoint("GET")
@_requires(scopes.PERSON_DETAILS_READ)
def natural_person(_request: HttpRequest, token: AccessToken) -> HttpResponse:
    """GET /api/v1/me/natural-person: a bare object, or null."""
    return _json(facts.person(token.user))


@endpoint("GET")
@_requires(scopes.PERSON_RESIDENCY_READ)
def residency(_request: HttpRequest, token: AccessToken) -> HttpResponse:
    """GET /api/v1/me/natural-person/residency: a bare object."""
    return _json(facts.residency(token.user))


@endpoint("GET")
@_requires(scopes.PERSON_ID_VERIFICATION_READ)
def id_verification(_request: HttpRequest, token: AccessToken) -> HttpResponse:
    """GET /api/v1/me/natural-person/id-verification: a bare object with signed URLs."""
    return _json(facts.id_verification(token.user))


@endpoint("GET")
@_requires(scopes.ENTITY_READ)
def legal_entities(_request: HttpRequest, token: AccessToken) -> HttpResponse:
    """GET /api/v1/me/legal-entities: entities that were shared with this grant and are still represented."""
    return _json(
        {"data": [facts.company(entity, brief=True) for entity in facts.shared(token.user, token.consent.entities)]}
    )


# The provider does not distinguish unknown, not shared and no longer represented entities.
_UNKNOWN = {"error": "Legal entity not found"}


@endpoint("GET")
@_requires(scopes.ENTITY_READ)
def legal_entity(_request: HttpRequest, token: AccessToken, entity: str) -> HttpResponse:
    """GET /api/v1/me/legal-entities/{id}."""
    if entity not in facts.shared(token.user, token.consent.entities):
        return _json(_UNKNOWN, 404)
    return _json({"data": facts.company(entity, brief=False)})


@endpoint("GET")
@_requires(scopes.ENTITY_DOCUMENTS_READ)
def legal_entity_documents(_request: HttpRequest, token: AccessToken, entity: str) -> HttpResponse:
    """GET /api/v1/me/legal-entities/{id}/documents."""
    if current().switches.entity_documents == "both" and not token.allow_scopes([scopes.ENTITY_READ]):
        return _missing(scopes.ENTITY_READ)
    if entity not in facts.shared(token.user, token.consent.entities):
        return _json(_UNKNOWN, 404)
    return _json({"data": facts.company_documents(entity)})
