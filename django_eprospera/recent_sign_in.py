"""Was the person at e-Próspera a moment ago? A gate for what a stolen session must not be able to do.

The gate looks at `auth_time`, which the provider signs: when the person last proved there who they are. It sends the person
through `prompt=login` and `max_age`; the backend checks on return that this really happened, and notes it in the session.
"""

from __future__ import annotations

import time
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import get_script_prefix, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_eprospera.conf import conf

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

__all__ = [
    "RecentSignInRequiredMixin",
    "confirm_sign_in",
    "has_recent_sign_in",
    "note_sign_in",
    "recent_sign_in_required",
    "safe_next",
]

_SESSION_KEY: Final = "eprospera_auth_time"
_MOST_CHARACTERS: Final = 2000

P = ParamSpec("P")


def note_sign_in(request: HttpRequest, auth_time: float | None) -> None:
    """Keep in the session when the person proved to the provider who they are; None: it did not say, so forget it."""
    if auth_time is None:
        request.session.pop(_SESSION_KEY, None)
    else:
        request.session[_SESSION_KEY] = int(min(auth_time, time.time()))


def has_recent_sign_in(request: HttpRequest, max_age: timedelta | None = None) -> bool:
    """Whether this session's sign-in at the provider is younger than `max_age` (EPROSPERA_RECENT_SIGN_IN)."""
    noted = request.session.get(_SESSION_KEY)
    if not isinstance(noted, int) or isinstance(noted, bool) or not request.user.is_authenticated:
        return False
    age = time.time() - noted
    return 0 <= age < (max_age or conf.EPROSPERA_RECENT_SIGN_IN).total_seconds()


def recent_sign_in_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase] | None = None, *, max_age: timedelta | None = None
) -> Any:
    """Let a signed-in user pass who was at e-Próspera within `max_age` (EPROSPERA_RECENT_SIGN_IN); ask the others to.

    `@recent_sign_in_required` or `@recent_sign_in_required(max_age=timedelta(minutes=1))`. A GET comes back to the same
    address; a POST is not repeated: the person comes back to the page that it was sent from.
    """

    def decorate(
        inner: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(inner)
        def gate(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if has_recent_sign_in(request, max_age):
                return inner(request, *args, **kwargs)
            return _ask(request)

        return gate

    return decorate if view is None else decorate(view)


class RecentSignInRequiredMixin:
    """`recent_sign_in_required` for class-based views. Stands left of the view; `recent_sign_in_max_age` is its `max_age`."""

    recent_sign_in_max_age: timedelta | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Ask before the view's own dispatch."""
        if has_recent_sign_in(request, self.recent_sign_in_max_age):
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
            return response
        return _ask(request)


@require_safe
@never_cache
def confirm_sign_in(request: HttpRequest) -> HttpResponse:
    """The page that explains why, with the button that begins it."""
    target = safe_next(request, request.GET.get(REDIRECT_FIELD_NAME, "")) or resolve_url(settings.LOGIN_REDIRECT_URL)
    max_age = int(conf.EPROSPERA_RECENT_SIGN_IN.total_seconds())
    context = {"next": target, "max_age": max_age, "home": get_script_prefix()}
    return render(request, "django_eprospera/confirm_sign_in.html", context)


def safe_next(request: HttpRequest, target: str, *hosts: str) -> str:
    """`target` if it is a place on this site or on one of `hosts`, else empty. No other scheme, no trick of slashes."""
    if not target or len(target) > _MOST_CHARACTERS or not target.isprintable() or "\\" in target:
        return ""
    allowed = url_has_allowed_host_and_scheme(target, {request.get_host(), *hosts}, require_https=request.is_secure())
    return target if allowed and target.startswith(("/", "http://", "https://")) else ""


def _ask(request: HttpRequest) -> HttpResponse:
    is_safe_method = request.method in {"GET", "HEAD"}
    target = request.get_full_path() if is_safe_method else _page_before(request)
    if not request.user.is_authenticated:
        return redirect_to_login(target)
    query = urlencode({REDIRECT_FIELD_NAME: target})
    response = HttpResponseRedirect(f"{reverse('eprospera:confirm_sign_in')}?{query}")
    response.status_code = 302 if is_safe_method else 303
    return response


def _page_before(request: HttpRequest) -> str:
    referer = safe_next(request, request.headers.get("Referer", ""))
    parts = urlsplit(referer)
    if not parts.netloc or parts.path == request.path:
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    return parts.path + (f"?{parts.query}" if parts.query else "")
