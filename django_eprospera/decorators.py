"""How does a view stand behind a gate? Thin wraps of `access`: anonymous people sign in, the others read why not.

A refusal is the page `django_eprospera/gate_refused.html` with status 403. Ordinary and `async` views both work.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

from django_eprospera import access

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.http import HttpRequest, HttpResponseBase

    Gate = Callable[[Any], access.Access]

__all__ = ["kyc_required", "refuse", "residency_required"]

View = TypeVar("View", bound="Callable[..., Any]")


@overload
def residency_required(view: View) -> View: ...


@overload
def residency_required(view: None = None, *, types: Collection[str] = ()) -> Callable[[View], View]: ...


def residency_required(view: Any = None, *, types: Collection[str] = ()) -> Any:
    """Open a view to residents only; with `types`, to these kinds of residents: `types=["Resident", "e-Resident"]`."""
    if isinstance(types, str):
        raise TypeError("types is a list of kinds of residency, and not one text.")
    kinds = frozenset(types)

    def gate(user: Any) -> access.Access:
        return access.residency(user, kinds)

    return _behind(gate, view) if view else lambda later: _behind(gate, later)


def kyc_required(view: View) -> View:
    """Open a view to people whose KYC is approved."""
    gated: View = _behind(access.kyc, view)
    return gated


def refuse(request: HttpRequest, answer: access.Access) -> HttpResponseBase:
    """Answer a request that a gate refused: the way to sign in, or the page that says why."""
    if answer.code == "anonymous":
        return redirect_to_login(request.get_full_path())
    response = render(request, "django_eprospera/gate_refused.html", {"access": answer}, status=403)
    add_never_cache_headers(response)
    return response


def _behind(gate: Gate, view: Any) -> Any:
    if iscoroutinefunction(view):

        @wraps(view)
        async def later(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # The user is loaded, and the gate reads the database: both in a thread.
            answer = await sync_to_async(lambda: gate(request.user))()
            if answer.allowed:
                return await view(request, *args, **kwargs)
            return await sync_to_async(refuse)(request, answer)

        return later

    @wraps(view)
    def now(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = gate(request.user)
        return view(request, *args, **kwargs) if answer.allowed else refuse(request, answer)

    return now
