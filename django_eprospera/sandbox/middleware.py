"""Middleware that counts requests, applies faults and switches that concern many paths, and adds security headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse

from django_eprospera.sandbox import faults
from django_eprospera.sandbox.endpoint import too_many_requests
from django_eprospera.sandbox.state import current

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

__all__ = ["count_and_fail_on_demand", "harden", "vary"]

_ALIASES = frozenset(
    {
        "/api/oauth/.well-known/openid-configuration",
        "/.well-known/jwks.json",
        "/api/v1/me/natural-person/id_verification",
    }
)

_View = Callable[[HttpRequest], HttpResponse]


def count_and_fail_on_demand(get_response: _View) -> Callable[[HttpRequest], HttpResponseBase]:
    """Count requests by path and status, and apply pending faults; neither for the control API."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/_sandbox/"):
            return get_response(request)
        response: HttpResponseBase | None = None
        fault = current().faults.take(request)
        if fault is not None and not fault.after:
            response = faults.apply(fault, request, None)
        if response is None:
            real = get_response(request)
            response = real
            if fault is not None and (fault.after or fault.drip):
                response = faults.apply(fault, request, real) or real
        current().count(f"{request.method} {_counted(request)} {response.status_code}")
        return response

    return middleware


def _counted(request: HttpRequest) -> str:
    """Return the route of the path, so that there is one counter for all IDs."""
    match = request.resolver_match
    return f"/{match.route}" if match else request.path if _is_provider_path(request.path) else "other"


def _is_provider_path(path: str) -> bool:
    return path.startswith(("/api/", "/.well-known/")) and len(path) < 100


def harden(get_response: _View) -> _View:
    """Add security headers. form-action has the clients' origins too, because it applies to redirects after a form."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(uri)) for uri in current().redirect_uris}
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {' '.join(sorted(origins))}",
        )
        response.headers.setdefault("X-Frame-Options", "DENY")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        # Not no-referrer: browsers would then send "Origin: null" with forms, which the CSRF check refuses.
        response.headers.setdefault("Referrer-Policy", "same-origin")
        if response.headers.get("Content-Type", "").startswith("text/html"):  # a 304 has none
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return middleware


def vary(get_response: _View) -> _View:
    """Apply the switches `aliases`, `cors` and `requests_per_minute` to the provider's endpoints."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not _is_provider_path(request.path):
            return get_response(request)
        switches = current().switches
        if switches.aliases == "no" and request.path in _ALIASES:
            return JsonResponse({"error": "Not found"}, status=404)
        if switches.cors == "no":
            return _limited(request) or get_response(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response = HttpResponse(status=204)
            response["Access-Control-Allow-Methods"] = "GET, HEAD, POST"
            response["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        else:
            response = _limited(request) or get_response(request)
        # No credentials: cookies of the sandbox's pages are never sent along.
        response["Access-Control-Allow-Origin"] = "*"
        return response

    return middleware


def _limited(request: HttpRequest) -> HttpResponse | None:
    """Return a 429 response if the credential has used up the switch `requests_per_minute`, or None."""
    limit = current().switches.requests_per_minute
    if not limit or request.path.startswith("/.well-known/"):
        return None
    credential = request.headers.get("Authorization") or request.POST.get("client_id") or request.META["REMOTE_ADDR"]
    seconds = current().limits.wait(credential, limit, 60)
    if not seconds:
        return None
    # On OAuth endpoints the code is invalid_request (docs/provider.md#revoke-and-introspect).
    oauth = request.path.startswith("/api/oauth/")
    return too_many_requests(seconds, "invalid_request" if oauth else "Rate limit exceeded")
