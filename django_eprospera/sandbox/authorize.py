"""The authorization endpoint (docs/provider.md#authorize, docs/provider.md#variants).

GET /api/oauth/authorize checks the request and redirects to the sign-in page or the consent page. These redirect back to it or
call `allow` and `deny`. The authorization request stays in the query string and is checked at each step, so that several tabs
do not mix.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import render
from oauth2_provider.exceptions import OAuthToolkitError
from oauthlib.common import add_params_to_uri

from django_eprospera import scopes
from django_eprospera.sandbox.clients import ENTITY_SCOPES, allowed_scopes
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.grants import create, issue_code
from django_eprospera.sandbox.models import Account, Application, Consent
from django_eprospera.sandbox.personas import PERSONAS
from django_eprospera.sandbox.state import current
from django_eprospera.sandbox.validators import core

__all__ = [
    "AuthorizationError",
    "AuthorizationRequest",
    "allow",
    "authorize",
    "check",
    "deny",
    "error_response",
    "signed_in",
]

RESPONSE_MODES = ("query", "fragment", "form_post")
_REQUIRED = ("response_type", "client_id", "redirect_uri", "scope", "state")


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked authorization request, whose client and redirect URI are registered."""

    query: QueryDict
    scopes: tuple[str, ...]

    @property
    def redirect_uri(self) -> str:
        """The registered URI that gets the response."""
        return str(self.query["redirect_uri"])

    @property
    def wants_entities(self) -> bool:
        """Whether the consent page offers companies."""
        return bool(ENTITY_SCOPES & set(self.scopes))


class AuthorizationError(Exception):
    """An error response: shown in the browser, or with `to_client` sent to the redirect URI of a registered client."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, to_client: bool = False, unregistered: str = ""
    ) -> None:
        super().__init__(description)
        self.error, self.description, self.status, self.to_client = error, description, status, to_client
        self.unregistered = unregistered


def _deliver(request: HttpRequest, parameters: dict[str, str]) -> HttpResponse:
    """Return the authorization response in the requested response mode."""
    query = request.GET
    parameters = {**parameters, "state": query["state"]}
    if current().switches.iss_parameter == "yes":
        parameters["iss"] = current().options.issuer
    redirect_uri, mode = query["redirect_uri"], query.get("response_mode") or "query"
    if mode == "form_post":
        context = {"action": redirect_uri, "parameters": parameters}
        return render(request, "eprospera_sandbox/form_post.html", context)
    response = HttpResponse(status=current().switches.redirect_status)
    response["Location"] = add_params_to_uri(redirect_uri, parameters.items(), fragment=mode == "fragment")
    response["Cache-Control"] = "no-store"
    return response


def error_response(request: HttpRequest, error: AuthorizationError) -> HttpResponse:
    """Return an error response to the client or, before any redirect, the provider's JSON (docs/provider.md#authorize).

    A browser that navigates gets a page instead, which contains the JSON: only a person reads it there, the developer, who
    needs to know what is registered and how to change it. The switch `authorize_errors` shows the bare JSON.
    """
    if error.to_client:
        return _deliver(request, {"error": error.error, "error_description": error.description})
    body = {"error": error.error, "error_description": error.description}
    if request.headers.get("Sec-Fetch-Mode") == "navigate" and current().switches.authorize_errors == "page":
        context = {
            "body": body,
            "json": json.dumps(body),
            "unregistered": error.unregistered,
            "registered": current().redirect_uris,
            "argument": shlex.quote(error.unregistered),
        }
        return render(request, "eprospera_sandbox/error.html", context, status=error.status)
    return JsonResponse(body, status=error.status)


def check(request: HttpRequest) -> AuthorizationRequest:
    """Return a checked authorization request. Raises AuthorizationError."""
    query = request.GET
    if repeated := [name for name in query if len(query.getlist(name)) > 1]:
        raise AuthorizationError("invalid_request", f"Sent more than once: {', '.join(sorted(repeated))}")
    if missing := [name for name in _REQUIRED if not query.get(name)]:
        raise AuthorizationError("missing_parameters", f"Missing: {', '.join(missing)}")
    if query.get("response_mode", "query") not in RESPONSE_MODES:
        raise AuthorizationError("invalid_request", f"response_mode must be one of {', '.join(RESPONSE_MODES)}")
    if scopes.OPENID in query["scope"].split() and not query.get("nonce"):
        raise AuthorizationError("invalid_request", "The scope openid needs a nonce")
    client = Application.objects.filter(client_id=query["client_id"]).first()
    if client is None:
        raise AuthorizationError("invalid_client", "This client_id is not registered", status=401)
    if query["redirect_uri"] not in client.redirect_uris.split():
        raise AuthorizationError(
            "invalid_request",
            "This redirect_uri is not registered for this client; it must be the same string",
            unregistered=query["redirect_uri"],
        )
    if query["response_type"] != "code":
        raise AuthorizationError("unsupported_response_type", "response_type must be code", to_client=True)
    _check_pkce(query)
    try:
        asked, _ = core().validate_authorization_request(request)
    except OAuthToolkitError as problem:
        error = problem.oauthlib_error
        description = error.description or "The request is not valid"
        if error.error == "invalid_scope":
            description = "Scopes that are not allowed for this client: " + " ".join(
                scope for scope in query["scope"].split() if scope not in allowed_scopes(query["client_id"])
            )
            if current().switches.scope_error == "json":
                raise AuthorizationError(error.error, description) from problem
        raise AuthorizationError(error.error, description, to_client=True) from problem
    return AuthorizationRequest(query, tuple(asked))


def _check_pkce(query: QueryDict) -> None:
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    if challenge is None and method is None:
        return
    if not challenge or method != "S256":
        raise AuthorizationError(
            "invalid_request", "PKCE needs code_challenge and code_challenge_method=S256", to_client=True
        )
    if len(challenge) != 43 or not set(challenge) <= _BASE64URL:
        raise AuthorizationError("invalid_request", "code_challenge is not a base64url SHA-256 digest", to_client=True)


_BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def signed_in(request: HttpRequest) -> Account | None:
    """Return the account that is signed in with this browser, or None."""
    sub = request.session.get("sub")
    return Account.objects.filter(pk=sub).first() if sub else None


def _remembered(account: Account, asked: AuthorizationRequest) -> Consent | None:
    """Return the newest grant that covers the requested scopes, or None; always None while the switch `consent` is ask."""
    if current().switches.consent != "remember":
        return None
    earlier = Consent.objects.filter(account=account, application__client_id=asked.query["client_id"], ended=None)
    covering = (each for each in earlier.order_by("-created") if set(asked.scopes) <= set(each.scope.split()))
    return next(covering, None)


def _plain(query: QueryDict) -> dict[str, str]:
    """Return the parameters, which `check` has found to be unique."""
    return {name: str(value) for name, value in query.items()}


def _page(name: str, query: dict[str, str]) -> HttpResponse:
    """Return a redirect to a page of the sandbox."""
    response = HttpResponseRedirect(f"/{name}?{urlencode(query)}", status=307)
    response["Cache-Control"] = "no-store"
    return response


@endpoint("GET")
def authorize(request: HttpRequest) -> HttpResponse:
    """GET /api/oauth/authorize."""
    try:
        asked = check(request)
        return _next_step(request, asked)
    except AuthorizationError as error:
        return error_response(request, error)


def _next_step(request: HttpRequest, asked: AuthorizationRequest) -> HttpResponse:
    query, honoured = asked.query, current().switches.prompts == "honour"
    prompt = set(query.get("prompt", "").split()) if honoured else set()
    account = signed_in(request)
    max_age = query.get("max_age") if honoured else None
    if max_age is not None and not (max_age.isascii() and max_age.isdigit()):
        raise AuthorizationError("invalid_request", "max_age must be a number of seconds", to_client=True)
    too_old = account is not None and max_age is not None and time.time() - request.session["auth_time"] >= int(max_age)
    if "none" in prompt:
        if len(prompt) > 1:
            raise AuthorizationError("invalid_request", "prompt=none must be the only prompt", to_client=True)
        if account is None or too_old:
            raise AuthorizationError(
                "login_required", "The user is not signed in, or signed in too long ago", to_client=True
            )
        remembered = _remembered(account, asked)
        if remembered is None:
            raise AuthorizationError("consent_required", "The user has not consented yet", to_client=True)
        return allow(request, asked, account, remembered.entities)
    if account is None or too_old or {"login", "select_account"} & prompt or _hints_at_other_account(query, account):
        # A new sign-in fulfils max_age and these prompts, so they are removed; else they would ask again and again.
        rest = {**_plain(query), "prompt": " ".join(sorted(prompt - {"login", "select_account"}))}
        return _page("sign-in", {name: value for name, value in rest.items() if name != "max_age" and value})
    if "consent" not in prompt and (remembered := _remembered(account, asked)):
        return allow(request, asked, account, remembered.entities)
    return _page("consent", _plain(query))


def _hints_at_other_account(query: QueryDict, account: Account) -> bool:
    """Return whether login_hint is the sub or e-mail address of another persona than the one signed in."""
    hint = query.get("login_hint", "") if current().switches.prompts == "honour" else ""
    return any(
        hint in (sub, persona.claims["email"]) and sub != str(account.pk) for sub, persona in PERSONAS.items() if hint
    )


def allow(request: HttpRequest, asked: AuthorizationRequest, account: Account, entities: list[str]) -> HttpResponse:
    """Create a grant that shares `entities`, if an entity scope is requested, and return the response with its code."""
    application = Application.objects.get(client_id=asked.query["client_id"])
    authenticated = datetime.fromtimestamp(request.session["auth_time"], UTC)
    with current().write_lock, transaction.atomic():
        shared = entities if asked.wants_entities else []
        consent = create(account, application, " ".join(asked.scopes), shared, authenticated)
        code = issue_code(consent, _plain(asked.query))
    return _deliver(request, {"code": code})


def deny(request: HttpRequest) -> HttpResponse:
    """Return the response for denied consent."""
    return _deliver(request, {"error": "access_denied", "error_description": "The user denied access"})
