"""Control API under /_sandbox/: counters, faults and changes, for tests and developers on this machine.

Accepts loopback clients and JSON bodies only: a web page of another origin cannot send JSON without a CORS preflight.
"""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import asdict
from functools import wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.handlers.wsgi import WSGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from django_eprospera.sandbox import facts, grants
from django_eprospera.sandbox.authorize import AuthorizationError, allow, check, error_response
from django_eprospera.sandbox.companies import KEYS
from django_eprospera.sandbox.models import AccessToken, Account, Application, Code, Consent, DeviceCode, RefreshToken
from django_eprospera.sandbox.personas import find
from django_eprospera.sandbox.state import access_token_seconds, current
from django_eprospera.scopes import ENTITY_DOCUMENTS_READ, ENTITY_READ

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "change_persona", "clock", "fault_list", "health", "mint_grants", "redirect_uris", "represent", "reset", "revoke_grants",
    "rotate_key", "sign_in", "stats", "switch_list", "tampering",
]  # fmt: skip

_Body = dict[str, Any]
# Seconds.
_CENTURY = 100 * 365 * 86_400


def _control(**methods: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """Return the view of an endpoint with a function per method, which takes the JSON body and returns the JSON response.

    A ValueError of the function becomes a response with status 400.
    """

    @csrf_exempt
    @wraps(next(iter(methods.values())))
    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not ipaddress.ip_address(request.META["REMOTE_ADDR"]).is_loopback:
            return JsonResponse({"error": "The control API accepts clients on this machine only"}, status=403)
        function = methods.get(str(request.method))
        if function is None:
            return JsonResponse({"error": "Method not allowed"}, status=405, headers={"Allow": ", ".join(methods)})
        body: Any = {}
        if request.method == "POST":
            if request.content_type != "application/json":
                return JsonResponse({"error": "Content-Type must be application/json"}, status=415)
            try:
                body = json.loads(request.body or b"{}")
            except ValueError:
                return JsonResponse({"error": "The body must be JSON"}, status=400)
            if not isinstance(body, dict):
                return JsonResponse({"error": "The body must be a JSON object"}, status=400)
        try:
            if request.method == "GET":
                response = function(body, **kwargs)
            else:
                with current().write_lock, transaction.atomic():
                    response = function(body, **kwargs)
        except ValueError as problem:
            return JsonResponse({"error": str(problem)}, status=400)
        return JsonResponse(response)

    return view


def _account(body: _Body) -> Account:
    persona = find(body.get("sub"))
    if persona is None:
        raise ValueError(
            f"sub must be the sub or the first name of a persona, such as lucia (see the index page), not {body.get('sub')!r}"
        )
    return Account.objects.get(pk=persona.sub)


def _entities(body: _Body, account: Account) -> list[str]:
    """Return the IDs of the entities in the body, all that the persona represents if there are none given."""
    given = body.get("entities")
    if given is None:
        return facts.represented(account)
    own = facts.persona_of(account).entities
    entities = [KEYS.get(str(each), str(each)) for each in given] if isinstance(given, list) else None
    if entities is None or not set(entities) <= set(own):
        names = ", ".join(name for name, entity in KEYS.items() if entity in own) or "none"
        raise ValueError(f"entities must be a list of entities that this persona represents ({names}), not {given!r}")
    return entities


def _application() -> Application:
    application: Application = Application.objects.get(client_id=current().options.client_id)
    return application


def _health(_body: _Body) -> _Body:
    return {"status": "ok", "issuer": current().options.issuer}


def _stats(_body: _Body) -> _Body:
    """Return the counters since the start or the last reset, and how many grants and tokens are active."""
    counters = current().counters()
    refreshes = {name: number for name, number in counters.items() if name.startswith("grant refresh_token ")}
    return {
        "counters": counters,
        "refresh_requests": sum(refreshes.values()),
        "refreshes": refreshes.get("grant refresh_token 200", 0),
        "refresh_token_reuse": counters.get("reuse refresh_token", 0),
        "code_reuse": counters.get("reuse code", 0),
        "grants_alive": Consent.objects.filter(ended=None).count(),
        "refresh_tokens_alive": RefreshToken.objects.filter(revoked=None).count(),
    }


def _reset_stats(_body: _Body) -> _Body:
    current().reset_counters()
    return {}


def _faults(_body: _Body) -> _Body:
    return {"faults": current().faults.pending()}


def _add_fault(body: _Body) -> _Body:
    current().faults.add(body)
    return _faults(body)


def _clear_faults(_body: _Body) -> _Body:
    current().faults.clear()
    return {}


def _switches(_body: _Body) -> _Body:
    return asdict(current().switches)


def _set_switches(body: _Body) -> _Body:
    current().change_switches(body)
    return _switches(body)


def _reset_switches(body: _Body) -> _Body:
    current().change_switches(None)
    return _switches(body)


def _tampering(_body: _Body) -> _Body:
    return current().tampering.active()


def _tamper(body: _Body) -> _Body:
    current().tampering.set(body)
    return current().tampering.active()


def _clear_tampering(_body: _Body) -> _Body:
    current().tampering.clear()
    return {}


def _rotate_key(body: _Body) -> _Body:
    return {"kid": current().keys.rotate(forget=bool(body.get("forget")))}


def _revoke(body: _Body) -> _Body:
    """End the grants of a persona, as if revoked at the portal."""
    return {"ended": grants.end(Consent.objects.filter(account=_account(body), ended=None))}


def _represent(body: _Body) -> _Body:
    """End or restore the representation of an entity by a persona."""
    account, entity = _account(body), KEYS.get(str(body.get("entity")), str(body.get("entity")))
    if entity not in facts.persona_of(account).entities:
        raise ValueError("entity must be the id of an entity that this persona represents")
    ended = [other for other in account.ended_entities if other != entity]
    account.ended_entities = ended if body.get("active") else [*ended, entity]
    account.save()
    return {"represented": facts.represented(account)}


def _change_persona(body: _Body, sub: str) -> _Body:
    """Change the data of a persona; an empty object undoes all changes."""
    account = _account({"sub": sub})
    if unknown := set(body) - set(facts.CHANGEABLE):
        raise ValueError(f"Unknown parts: {', '.join(sorted(unknown))}. Parts: {', '.join(facts.CHANGEABLE)}.")
    account.changes = {**account.changes, **body} if body else {}
    account.save()
    return {
        "claims": facts.claims(account, {"profile", "email"}), "person": facts.person(account),
        "residency": facts.residency(account), "id_verification": facts.id_verification(account),
    }  # fmt: skip


def _mint(body: _Body) -> _Body:
    """Create grants with tokens, without a browser."""
    account, application = _account(body), _application()
    scopes = body.get("scopes", list(current().options.allowed_scopes))
    if isinstance(scopes, str):
        scopes = scopes.split()
    if not set(scopes) <= set(current().options.allowed_scopes):
        raise ValueError("scopes must be allowed for the client (see the index page)")
    count = body.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= 10_000:
        raise ValueError(f"count must be an integer from 1 to 10000, not {count!r}")
    seconds = body.get("access_token_expires_in", access_token_seconds())
    if not isinstance(seconds, int):
        raise ValueError(f"access_token_expires_in must be an integer (seconds), not {seconds!r}")  # noqa: TRY004
    entities = _entities(body, account)
    if not {ENTITY_READ, ENTITY_DOCUMENTS_READ} & set(scopes):
        entities = []
    return {"grants": grants.mint(account, application, " ".join(scopes), entities, count, seconds)}


def _sign_in(body: _Body) -> _Body:
    """Answer an authorization request as a persona who signs in and consents. Return where the browser is sent."""
    account, parts = _account(body), urlsplit(str(body.get("url")))
    entities = _entities(body, account)
    request = WSGIRequest({
        "REQUEST_METHOD": "GET", "PATH_INFO": parts.path, "QUERY_STRING": parts.query, "wsgi.input": BytesIO(),
        "SERVER_NAME": "localhost", "SERVER_PORT": str(current().options.port),
    })  # fmt: skip
    request.session = {"auth_time": int(time.time())}  # type: ignore[assignment]  # all that is read of it
    try:
        response = allow(request, check(request), account, entities)
    except AuthorizationError as error:
        if not error.to_client:
            raise ValueError(f"{error.error}: {error.description}") from error
        response = error_response(request, error)
    if "Location" not in response:
        raise ValueError("response_mode form_post needs a browser: use query or fragment")
    return {"location": response["Location"]}


def _redirect_uris(_body: _Body) -> _Body:
    return {"redirect_uris": list(current().redirect_uris)}


def _register(body: _Body) -> _Body:
    """Register one more redirect URI of the client, until the sandbox ends."""
    uri = body.get("uri")
    if not isinstance(uri, str) or not uri.startswith(("http://", "https://")) or "#" in uri or len(uri.split()) != 1:
        raise ValueError(f"uri must be an absolute URI without fragment, not {uri!r}")
    if uri not in current().redirect_uris:
        current().redirect_uris += (uri,)
        grants.ensure_client()
    return _redirect_uris(body)


def _clock(_body: _Body) -> _Body:
    return {"now": timezone.now().isoformat(), "ahead": current().clock.ahead}


def _set_clock(body: _Body) -> _Body:
    """Set the clock ahead of the machine's."""
    ahead = body.get("ahead")
    if isinstance(ahead, bool) or not isinstance(ahead, int | float) or not abs(ahead) < _CENTURY:
        raise ValueError(f"ahead must be a number of seconds, less than a hundred years, not {ahead!r}")
    current().clock.set(float(ahead))
    return _clock(body)


def _reset(_body: _Body) -> _Body:
    """Delete all grants, changes, faults and tampering, and reset counters, switches and the clock.

    Keeps keys and redirect URIs.
    """
    models: tuple[Any, ...] = (AccessToken, RefreshToken, Code, DeviceCode, Consent)
    for model in models:
        model.objects.all().delete()
    Account.objects.update(changes={}, ended_entities=[])
    current().reset()
    return {}


health = _control(GET=_health)
stats = _control(GET=_stats, DELETE=_reset_stats)
fault_list = _control(GET=_faults, POST=_add_fault, DELETE=_clear_faults)
switch_list = _control(GET=_switches, POST=_set_switches, DELETE=_reset_switches)
tampering = _control(GET=_tampering, POST=_tamper, DELETE=_clear_tampering)
rotate_key = _control(POST=_rotate_key)
revoke_grants = _control(POST=_revoke)
represent = _control(POST=_represent)
change_persona = _control(POST=_change_persona)
mint_grants = _control(POST=_mint)
sign_in = _control(POST=_sign_in)
clock = _control(GET=_clock, POST=_set_clock)
redirect_uris = _control(GET=_redirect_uris, POST=_register)
reset = _control(POST=_reset)
