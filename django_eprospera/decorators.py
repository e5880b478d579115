"""Decorators that restrict views, ordinary and `async`, by the rules of `access`.

Anonymous users are redirected to the sign-in page. A refused user gets `django_eprospera/gate_refused.html`, with status 403,
which gives the reason and the next step.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload
from urllib.parse import urlencode

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils.cache import add_never_cache_headers

from django_eprospera import access
from django_eprospera.conf import conf
from django_eprospera.sign_in.next_url import page_before
from django_eprospera.sign_in.recent import has_recent_authentication, has_recent_sign_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    Gate = Callable[[Any], access.Access]

__all__ = ["kyc_required", "recent_sign_in_required", "refuse", "residency_required"]

P = ParamSpec("P")
View = TypeVar("View", bound="Callable[..., Any]")


@overload
def residency_required(view: View) -> View: ...


@overload
def residency_required(view: None = None, *, types: Collection[str] = ()) -> Callable[[View], View]: ...


def residency_required(view: Any = None, *, types: Collection[str] = ()) -> Any:
    """Decorator for views that checks that the user is a resident; of one of `types`, if given: `types=["Resident"]`.

    Raises TypeError if `types` is a string.
    """
    if isinstance(types, str):
        raise TypeError(f"types must be a list of residency types, not the string {types!r}.")
    allowed = frozenset(types)

    def gate(user: Any) -> access.Access:
        return access.residency(user, allowed)

    return _behind(gate, "residency", view) if view else lambda inner: _behind(gate, "residency", inner)


@overload
def kyc_required(view: View) -> View: ...


@overload
def kyc_required(view: None = None) -> Callable[[View], View]: ...


def kyc_required(view: Any = None) -> Any:
    """Decorator for views that checks that the user's KYC is approved: `@kyc_required` or `@kyc_required()`."""
    return _behind(access.kyc, "kyc", view) if view else lambda inner: _behind(access.kyc, "kyc", inner)


def recent_sign_in_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase] | None = None, *, max_age: timedelta | None = None
) -> Any:
    """Decorator for views that checks that the user signed in at e-Próspera within `max_age` (EPROSPERA_RECENT_SIGN_IN).

    `@recent_sign_in_required` or `@recent_sign_in_required(max_age=timedelta(minutes=1))`. Other users are asked to sign in. A
    GET then returns to the same URL; a POST is not repeated, but returns to the page that sent it.
    """

    def decorate(
        inner: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(inner)
        def gate(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if has_recent_sign_in(request, max_age):
                return inner(request, *args, **kwargs)
            return ask_to_sign_in(request)

        return gate

    return decorate if view is None else decorate(view)


def refuse(request: HttpRequest, answer: access.Access) -> HttpResponseBase:
    """Return the response to a refused request: a redirect to the sign-in page, or the 403 page with the reason."""
    if answer.code == "anonymous":
        return redirect_to_login(request.get_full_path())
    context = {"access": answer, "home": get_script_prefix(), "portal": conf.EPROSPERA_BASE_URL}
    response = render(request, "django_eprospera/gate_refused.html", context, status=403)
    add_never_cache_headers(response)
    return response


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Return a redirect to the page that asks for a recent sign-in."""
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


def _behind(gate: Gate, feature: str, view: Any) -> Any:
    if iscoroutinefunction(view):

        @wraps(view)
        async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # The user is loaded, and the gate reads the database: both in a thread.
            answer = await sync_to_async(lambda: gate(request.user))()
            if answer.allowed:
                return await view(request, *args, **kwargs)
            return await sync_to_async(refuse)(request, answer)

        return _needing(feature, async_view)

    @wraps(view)
    def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = gate(request.user)
        return view(request, *args, **kwargs) if answer.allowed else refuse(request, answer)

    return _needing(feature, sync_view)


def _needing(feature: str, view: Any) -> Any:
    # For the system check. `wraps` copies it to decorators above, and `as_view` from `dispatch` to the view.
    view.eprospera_features = {feature, *getattr(view, "eprospera_features", ())}
    return view
