"""What happens between the client's redirect to us and ours back to it? The authorization endpoint's rules.

GET /api/oauth/authorize checks the request, then sends the browser to the sign-in page or the consent page, which come back
here or call `allow` and `deny`. The authorization request travels in the query string and is checked again at each step, so
several tabs never mix. Contract, sections 4 and 14 (#19, #20).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe
from oauth2_provider.exceptions import OAuthToolkitError
from oauthlib.common import add_params_to_uri

from django_eprospera import scopes
from django_eprospera.sandbox import state
from django_eprospera.sandbox.grants import give, share
from django_eprospera.sandbox.models import Account, Application, Consent
from django_eprospera.sandbox.personas import PERSONAS
from django_eprospera.sandbox.validators import core

__all__ = ["Asked", "RefusedError", "allow", "authorize", "check", "deny", "refused", "signed_in"]

ENTITY_SCOPES = frozenset({scopes.ENTITY_READ, scopes.ENTITY_DOCUMENTS_READ})
RESPONSE_MODES = ("query", "fragment", "form_post")
_REQUIRED = ("response_type", "client_id", "redirect_uri", "scope", "state")


@dataclass(frozen=True)
class Asked:
    """A checked authorization request: the client and its redirect URI may be trusted."""

    query: QueryDict
    scopes: tuple[str, ...]

    @property
    def redirect_uri(self) -> str:
        """Where the answer goes."""
        return str(self.query["redirect_uri"])

    @property
    def wants_entities(self) -> bool:
        """Whether the person has to pick companies."""
        return bool(ENTITY_SCOPES & set(self.scopes))


class RefusedError(Exception):
    """An authorization request that cannot be answered as asked.

    Before the client is trusted the browser is told (`to_client` false); afterwards the client is, at its redirect URI.
    """

    def __init__(
        self, error: str, description: str, *, status: int = 400, to_client: bool = False, unregistered: str = ""
    ) -> None:
        super().__init__(description)
        self.error, self.description, self.status, self.to_client = error, description, status, to_client
        self.unregistered = unregistered


def _deliver(request: HttpRequest, answer: dict[str, str]) -> HttpResponse:
    """Brings an answer to the client in the response mode it asked for."""
    query = request.GET
    answer = {**answer, "state": query["state"]}
    if state.switches().iss_parameter == "yes":
        answer["iss"] = state.options().issuer
    redirect_uri, mode = query["redirect_uri"], query.get("response_mode") or "query"
    if mode == "form_post":
        context = {"action": redirect_uri, "answer": answer}
        return render(request, "eprospera_sandbox/form_post.html", context)
    response = HttpResponse(status=state.switches().redirect_status)
    response["Location"] = add_params_to_uri(redirect_uri, answer.items(), fragment=mode == "fragment")
    response["Cache-Control"] = "no-store"
    return response


def refused(request: HttpRequest, refusal: RefusedError) -> HttpResponse:
    """The answer to a request that cannot be granted: to the client where it is trusted, else to the browser."""
    if refusal.to_client:
        return _deliver(request, {"error": refusal.error, "error_description": refusal.description})
    body = {"error": refusal.error, "error_description": refusal.description}
    if "text/html" in request.headers.get("Accept", ""):
        context = {
            "body": body,
            "json": json.dumps(body),
            "unregistered": refusal.unregistered,
            "registered": state.options().redirect_uris,
        }
        return render(request, "eprospera_sandbox/error.html", context, status=refusal.status)
    return JsonResponse(body, status=refusal.status)


def check(request: HttpRequest) -> Asked:
    """Checks an authorization request. Raises RefusedError."""
    query = request.GET
    if repeated := [name for name in query if len(query.getlist(name)) > 1]:
        raise RefusedError("invalid_request", f"Sent more than once: {', '.join(sorted(repeated))}")
    if missing := [name for name in _REQUIRED if not query.get(name)]:
        raise RefusedError("missing_parameters", f"Missing: {', '.join(missing)}")
    if query.get("response_mode", "query") not in RESPONSE_MODES:
        raise RefusedError("invalid_request", f"response_mode must be one of {', '.join(RESPONSE_MODES)}")
    if scopes.OPENID in query["scope"].split() and not query.get("nonce"):
        raise RefusedError("invalid_request", "A nonce has to be sent together with openid")
    client = Application.objects.filter(client_id=query["client_id"]).first()
    if client is None:
        raise RefusedError("invalid_client", "This client_id is not registered", status=401)
    if query["redirect_uri"] not in client.redirect_uris.split():
        raise RefusedError(
            "invalid_request",
            "This redirect_uri is not registered for this client, character by character",
            unregistered=query["redirect_uri"],
        )
    if query["response_type"] != "code":
        raise RefusedError("unsupported_response_type", "Only response_type=code", to_client=True)
    _check_pkce(query)
    try:
        asked, _ = core().validate_authorization_request(request)
    except OAuthToolkitError as problem:
        error = problem.oauthlib_error
        description = error.description or "The request is not valid"
        if error.error == "invalid_scope":
            description = "The client may not ask for: " + " ".join(
                scope for scope in query["scope"].split() if scope not in state.options().allowed_scopes
            )
        raise RefusedError(error.error, description, to_client=True) from problem
    return Asked(query, tuple(asked))


def _check_pkce(query: QueryDict) -> None:
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    if challenge is None and method is None:
        return
    if not challenge or method != "S256":
        raise RefusedError(
            "invalid_request", "PKCE needs code_challenge and code_challenge_method=S256", to_client=True
        )
    if len(challenge) != 43 or not set(challenge) <= _BASE64URL:
        raise RefusedError("invalid_request", "code_challenge is not a base64url SHA-256 digest", to_client=True)


_BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def signed_in(request: HttpRequest) -> Account | None:
    """The account that this browser is signed in with, if any."""
    sub = request.session.get("sub")
    return Account.objects.filter(pk=sub).first() if sub else None


def _remembered(account: Account, asked: Asked) -> bool:
    if state.switches().consent != "remember":
        return False
    earlier = Consent.objects.filter(account=account, application__client_id=asked.query["client_id"], ended=None)
    return any(set(asked.scopes) <= set(consent.scope.split()) for consent in earlier)


def _plain(query: QueryDict) -> dict[str, str]:
    """The parameters, each of which came once."""
    return {name: str(value) for name, value in query.items()}


def _page(name: str, query: dict[str, str]) -> HttpResponse:
    """A redirect to one of our own pages."""
    response = HttpResponseRedirect(f"/{name}?{urlencode(query)}", status=307)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
def authorize(request: HttpRequest) -> HttpResponse:
    """GET /api/oauth/authorize."""
    try:
        asked = check(request)
        return _next_step(request, asked)
    except RefusedError as refusal:
        return refused(request, refusal)


def _next_step(request: HttpRequest, asked: Asked) -> HttpResponse:
    query, prompt = asked.query, set(asked.query.get("prompt", "").split())
    account = signed_in(request)
    max_age = query.get("max_age")
    if max_age is not None and not (max_age.isascii() and max_age.isdigit()):
        raise RefusedError("invalid_request", "max_age must be a number of seconds", to_client=True)
    too_old = account is not None and max_age is not None and time.time() - request.session["auth_time"] >= int(max_age)
    if "none" in prompt:
        if len(prompt) > 1:
            raise RefusedError("invalid_request", "prompt=none stands alone", to_client=True)
        if account is None or too_old:
            raise RefusedError("login_required", "Nobody is signed in, or too long ago", to_client=True)
        if not _remembered(account, asked):
            raise RefusedError("consent_required", "The person has to be asked", to_client=True)
        return allow(request, asked, account, None)
    if account is None or too_old or {"login", "select_account"} & prompt or _hints_at_another(query, account):
        # Signing in afresh answers these; sent along they would ask for ever. auth_time tells the client.
        rest = {**_plain(query), "prompt": " ".join(sorted(prompt - {"login", "select_account"}))}
        return _page("sign-in", {name: value for name, value in rest.items() if name != "max_age" and value})
    if "consent" not in prompt and _remembered(account, asked):
        return allow(request, asked, account, None)
    return _page("consent", _plain(query))


def _hints_at_another(query: QueryDict, account: Account) -> bool:
    """Whether login_hint names one of our people, by sub or e-mail, who is not the one signed in."""
    hint = query.get("login_hint", "")
    return any(
        hint in (sub, persona.claims["email"]) and sub != str(account.pk) for sub, persona in PERSONAS.items() if hint
    )


def allow(request: HttpRequest, asked: Asked, account: Account, entities: list[str] | None) -> HttpResponse:
    """Grants what was asked and brings the code to the client. `entities` is what was picked; None keeps an earlier pick."""
    application = Application.objects.get(client_id=asked.query["client_id"])
    credentials: dict[str, Any] = {
        name: asked.query.get(name)
        for name in (
            "client_id",
            "redirect_uri",
            "response_type",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
        )
    }
    # The response mode is ours to honour, in `_deliver`.
    credentials["response_mode"] = "query"
    request.user = account  # type: ignore[assignment]  # django-oauth-toolkit takes the person from here
    with state.write_lock, transaction.atomic():
        if entities is not None:
            share(account, application, entities)
        credentials["consent"] = give(
            account, application, " ".join(asked.scopes), datetime.fromtimestamp(request.session["auth_time"], UTC)
        )
        location, *_ = core().create_authorization_response(request, list(asked.scopes), credentials, allow=True)
    # The registered URI may have a query of its own; what oauthlib added stands last.
    return _deliver(request, {"code": dict(parse_qsl(urlsplit(location).query))["code"]})


def deny(request: HttpRequest) -> HttpResponse:
    """Tells the client that the person said no."""
    return _deliver(request, {"error": "access_denied", "error_description": "The person did not allow this"})
