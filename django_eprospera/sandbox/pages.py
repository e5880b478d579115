"""Index, sign-in and consent pages: plain forms without scripts."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from django_eprospera.sandbox import facts, manual
from django_eprospera.sandbox.authorize import AuthorizationError, allow, check, deny, error_response, signed_in
from django_eprospera.sandbox.clients import ALL_LABELS, ENTITY_SCOPES
from django_eprospera.sandbox.files import picture_url
from django_eprospera.sandbox.options import Switches
from django_eprospera.sandbox.personas import PERSONAS, Persona
from django_eprospera.sandbox.state import current
from django_eprospera.scopes import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_eprospera.sandbox.models import Account

__all__ = [
    "answered", "bad_request", "consent", "csrf_failure", "index", "not_found", "render_consent", "render_sign_in", "selected",
    "server_error", "sign_in", "start_session",
]  # fmt: skip


def _card(persona: Persona) -> dict[str, Any]:
    return {
        "sub": persona.sub, "name": persona.name, "summary": persona.summary, "email": persona.claims["email"],
        "picture": picture_url(persona.sub),
    }  # fmt: skip


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Render what a client developer needs: client settings, personas, scopes, endpoints, switches and the control API."""
    switches = current().switches
    return render(
        request,
        "eprospera_sandbox/index.html",
        {
            "options": current().options,
            "redirect_uris": current().redirect_uris,
            "endpoints": manual.ENDPOINTS,
            "control": manual.CONTROL,
            "personas": [_card(persona) for persona in PERSONAS.values()],
            "scopes": [(scope, LABELS[scope]) for scope in current().options.allowed_scopes],
            "switches": [
                {
                    "name": each.name,
                    "value": getattr(switches, each.name),
                    "changed": getattr(switches, each.name) != each.default,
                    "help": _(each.metadata["help"]),
                }
                for each in fields(Switches)
            ],
        },
    )  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as a persona, without a password."""
    try:
        asked = check(request)
    except AuthorizationError as error:
        return error_response(request, error)
    if request.method == "POST" and start_session(request):
        query = request.GET.copy()
        query.pop("login_hint", None)
        return HttpResponseRedirect(f"/api/oauth/authorize?{query.urlencode()}", status=303)
    hint = str(asked.query.get("login_hint", "")) if current().switches.prompts == "honour" else ""
    return render_sign_in(request, str(asked.query["client_id"]), hint)


def start_session(request: HttpRequest) -> bool:
    """Sign in the persona that was chosen on the sign-in page. Return whether there is such a persona."""
    sub = request.POST.get("sub", "")
    if sub not in PERSONAS:
        return False
    request.session.cycle_key()
    request.session["sub"], request.session["auth_time"] = sub, int(time.time())
    return True


def render_sign_in(request: HttpRequest, client_id: str, hint: str = "") -> HttpResponse:
    """Render the sign-in page, with the persona of `hint` first."""
    cards = [_card(persona) for persona in PERSONAS.values()]
    # The hinted persona first; the others keep their order.
    cards.sort(key=lambda card: hint not in (card["sub"], card["email"]))
    return render(
        request,
        "eprospera_sandbox/sign_in.html",
        {"client": client_id, "cards": cards, "hint": hint, "nothing_chosen": request.method == "POST"},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def consent(request: HttpRequest) -> HttpResponse:
    """Ask for consent to the scopes and for the companies to share."""
    try:
        asked = check(request)
    except AuthorizationError as error:
        return error_response(request, error)
    account = signed_in(request)
    if account is None:
        return HttpResponseRedirect(f"/api/oauth/authorize?{request.GET.urlencode()}", status=303)
    if answered(request, account):
        if request.POST.get("answer") == "allow":
            return allow(request, asked, account, selected(request, account))
        return deny(request)
    host, sign_in_url = asked.redirect_uri.split("/")[2], f"/sign-in?{request.GET.urlencode()}"
    return render_consent(request, account, str(asked.query["client_id"]), asked.scopes, sign_in_url, host)


def answered(request: HttpRequest, account: Account) -> bool:
    """Return whether the consent form was sent for this persona.

    Another tab may have signed in another one since the page was rendered: then it is rendered again, for that one.
    """
    return request.method == "POST" and request.POST.get("account") == str(account.pk)


def selected(request: HttpRequest, account: Account) -> list[str]:
    """Return the companies that were selected on the consent page and are represented."""
    return [entity for entity in facts.represented(account) if entity in request.POST.getlist("entity")]


def render_consent(
    request: HttpRequest,
    account: Account,
    client_id: str,
    scopes: Iterable[str],
    sign_in_url: str,
    client_host: str = "",
) -> HttpResponse:
    """Render the consent page. `client_host` is where the answer leads, empty if it leads nowhere."""
    asked = set(scopes)
    return render(
        request,
        "eprospera_sandbox/consent.html",
        {
            "client": client_id,
            "client_host": client_host,
            "card": _card(facts.persona_of(account)),
            "labels": [label for scope, label in ALL_LABELS.items() if scope in asked],
            "wants_entities": bool(ENTITY_SCOPES & asked),
            "companies": [facts.company(entity, brief=True) for entity in facts.represented(account)],
            "sign_in_url": sign_in_url,
            "changed": request.method == "POST",
        },
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - the signature is Django's
    """Return the response to a form that has expired or comes from another site."""
    body = {
        "error": "invalid_request",
        "error_description": _("This form has expired. Go back, reload the page and try again."),
    }
    return render(
        request,
        "eprospera_sandbox/error.html",
        {"body": body},
        status=403,
    )


def bad_request(_request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - the signature is Django's
    """Return the response to a malformed request or a foreign host name."""
    return JsonResponse({"error": "invalid_request"}, status=400)


def not_found(_request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - the signature is Django's
    """Return the response to an unknown path."""
    return JsonResponse({"error": "Not found"}, status=404)


def server_error(_request: HttpRequest) -> HttpResponse:
    """Return the response to an exception in the sandbox."""
    return JsonResponse({"error": "Internal server error"}, status=500)
