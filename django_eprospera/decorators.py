"""Decorators that restrict views, ordinary and `async`, by the rules of `access`.

Anonymous users are redirected to the sign-in page. A refused user gets `django_eprospera/gate_refused.html`, with status 403,
which gives the reason and the next step; a program gets a problem document.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from urllib.parse import urlencode

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.cache import add_never_cache_headers, patch_vary_headers

from django_eprospera import access
from django_eprospera.access.answers import OK, refused
from django_eprospera.access.rules import evaluate_request
from django_eprospera.conf import conf
from django_eprospera.sign_in.next_url import page_before
from django_eprospera.sign_in.recent import has_recent_authentication, has_recent_sign_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    Gate = Callable[[HttpRequest, dict[str, Any]], access.Access]

__all__ = ["access_required", "kyc_required", "recent_sign_in_required", "refuse", "residency_required"]

# Media types of answers for programs (RFC 9457).
_JSON: Final = ("application/problem+json", "application/json")

View = TypeVar("View", bound="Callable[..., Any]")


def access_required(policy: access.Policy, *, company: str = "") -> Callable[[View], View]:
    """Decorator for views that checks that the user has what `policy` names.

    `company` is the name of the URL argument with the primary key of the company in question, for a policy with `company`:
    `@access_required(Policy(company="approved"), company="pk")`. Raises TypeError if one is given without the other.
    """
    if bool(policy.company) is not bool(company):
        raise TypeError(
            "A policy about a company needs the name of the URL argument that chooses it, and no other policy does: "
            'access_required(Policy(company="shared"), company="pk").'
        )

    def gate(request: HttpRequest, arguments: dict[str, Any]) -> access.Access:
        return evaluate_request(request, policy, arguments, company)

    return lambda view: _behind(gate, policy.needed_scopes, view)


@overload
def residency_required(view: View) -> View: ...


@overload
def residency_required(view: None = None, *, types: Collection[str] = ()) -> Callable[[View], View]: ...


def residency_required(view: Any = None, *, types: Collection[str] = ()) -> Any:
    """Decorator for views that checks that the user is a resident; of one of `types`, if given: `types=["Resident"]`.

    Raises TypeError if `types` is a string.
    """
    decorate = access_required(access.Policy(residency=types or True))
    return decorate if view is None else decorate(view)


@overload
def kyc_required(view: View) -> View: ...


@overload
def kyc_required(view: None = None) -> Callable[[View], View]: ...


def kyc_required(view: Any = None) -> Any:
    """Decorator for views that checks that the user's KYC is approved: `@kyc_required` or `@kyc_required()`."""
    decorate = access_required(access.Policy(kyc=True))
    return decorate if view is None else decorate(view)


@overload
def recent_sign_in_required(view: View) -> View: ...


@overload
def recent_sign_in_required(view: None = None, *, max_age: timedelta | None = None) -> Callable[[View], View]: ...


def recent_sign_in_required(view: Any = None, *, max_age: timedelta | None = None) -> Any:
    """Decorator for views that checks that the user signed in at e-Próspera within `max_age` (EPROSPERA_RECENT_SIGN_IN).

    `@recent_sign_in_required` or `@recent_sign_in_required(max_age=timedelta(minutes=1))`. Other users are asked to sign in. A
    GET then returns to the same URL; a POST is not repeated, but returns to the page that sent it.
    """

    def gate(request: HttpRequest, _arguments: dict[str, Any]) -> access.Access:
        if has_recent_sign_in(request, max_age):
            return OK
        return refused("sign_in_again" if request.user.is_authenticated else "anonymous")

    return _behind(gate, set(), view) if view else lambda inner: _behind(gate, set(), inner)


def refuse(request: HttpRequest, answer: access.Access) -> HttpResponseBase:
    """Return the response to a refused request.

    A client that prefers JSON to HTML gets a problem document (RFC 9457) with status 403, and is never redirected. A browser is
    redirected to the sign-in page, or to the one that asks for a recent sign-in, or gets the 403 page with the reason.
    """
    response: HttpResponseBase
    if request.get_preferred_type(["text/html", *_JSON]) in _JSON:
        response = problem(answer)
    elif answer.code in {"anonymous", "sign_in_again"}:
        response = ask_to_sign_in(request)
    else:
        context = {"access": answer, "home": get_script_prefix(), "portal": conf.EPROSPERA_BASE_URL}
        response = render(request, "django_eprospera/gate_refused.html", context, status=403)
    add_never_cache_headers(response)
    patch_vary_headers(response, ["Accept"])
    return response


def problem(answer: access.Access) -> HttpResponse:
    """Return a refusal as a problem document (RFC 9457), with status 403."""
    return JsonResponse(answer.problem, status=403, content_type=_JSON[0])


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Return a redirect to the sign-in page, or to the page that asks a user for a recent sign-in."""
    is_safe_method = request.method in {"GET", "HEAD"}
    target = request.get_full_path() if is_safe_method else page_before(request)
    if not request.user.is_authenticated:
        return redirect_to_login(target)
    return _redirect(request, "eprospera:confirm_sign_in", target)


def recent_authentication_required(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorator for our own views that change who can sign in: the session's authentication must be recent."""

    @wraps(view)
    def gate(request: HttpRequest, /, *args: Any, **kwargs: Any) -> HttpResponse:
        return view(request, *args, **kwargs) if has_recent_authentication(request) else ask_to_authenticate(request)

    return gate


def ask_to_authenticate(request: HttpRequest) -> HttpResponse:
    """Return a redirect to the page on which users prove who they are, by whatever backend they sign in with."""
    return _redirect(request, "eprospera:confirm_identity", page_before(request))


def _redirect(request: HttpRequest, name: str, target: str) -> HttpResponse:
    response = HttpResponseRedirect(f"{reverse(name)}?{urlencode({REDIRECT_FIELD_NAME: target})}")
    response.status_code = 302 if request.method in {"GET", "HEAD"} else 303
    return response


def _behind(gate: Gate, scopes: set[str], view: Any) -> Any:
    if iscoroutinefunction(view):

        @wraps(view)
        async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # The user is loaded, and the gate reads the database: both in a thread.
            answer = await sync_to_async(gate)(request, kwargs)
            if answer.allowed:
                return await view(request, *args, **kwargs)
            return await sync_to_async(refuse)(request, answer)

        return _needing(scopes, async_view)

    @wraps(view)
    def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = gate(request, kwargs)
        return view(request, *args, **kwargs) if answer.allowed else refuse(request, answer)

    return _needing(scopes, sync_view)


def _needing(scopes: set[str], view: Any) -> Any:
    # For the system check. `wraps` copies it to decorators above, and `as_view` from `dispatch` to the view.
    view.eprospera_scopes = {*scopes, *getattr(view, "eprospera_scopes", ())}
    return view
