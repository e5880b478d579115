"""What happens around every request: it is counted, it fails on demand, and its answer is hardened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse

from django_eprospera.sandbox import faults, state

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

__all__ = ["count_and_fail_on_demand", "harden"]

_View = Callable[[HttpRequest], HttpResponse]


def count_and_fail_on_demand(get_response: _View) -> Callable[[HttpRequest], HttpResponseBase]:
    """Counts requests by path and status, and lets waiting faults happen. The control API is left out of both."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/_sandbox/"):
            return get_response(request)
        response: HttpResponseBase | None = None
        fault = faults.take(request)
        if fault is not None and not fault.after:
            response = faults.answer_instead(fault, request, None)
        if response is None:
            real = get_response(request)
            response = real
            if fault is not None and (fault.after or fault.drip):
                response = faults.answer_instead(fault, request, real) or real
        state.count(f"{request.method} {_counted(request)} {response.status_code}")
        return response

    return middleware


def _counted(request: HttpRequest) -> str:
    """The path as a route, so that counters do not grow with every ID."""
    match = request.resolver_match
    return f"/{match.route}" if match else request.path if fault_path(request.path) else "other"


def fault_path(path: str) -> bool:
    """Whether a path that never reached its view is one of ours."""
    return path.startswith(("/api/", "/.well-known/")) and len(path) < 100


def harden(get_response: _View) -> _View:
    """Security headers. Forms may lead to the registered clients, since a redirect after a form counts as its target."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(uri)) for uri in state.options().redirect_uris}
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {' '.join(sorted(origins))}",
        )
        response.headers.setdefault("X-Frame-Options", "DENY")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        # Not no-referrer: browsers would then send "Origin: null" with our own forms, which the CSRF check refuses.
        response.headers.setdefault("Referrer-Policy", "same-origin")
        if response.headers["Content-Type"].startswith("text/html"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return middleware
