"""Which Content-Security-Policy do the pages carry? The same one on Django 5.2 and 6.1, so it is a middleware of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

__all__ = ["strict_csp"]


def strict_csp(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Add the policy, unless the answer has a stricter one of its own (as the sealed files have)."""

    # Browsers hold redirects after a form to form-action too, and the sign-in button's form leads to the provider.
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        f"form-action 'self' {settings.EPROSPERA_BASE_URL.rstrip('/')}; base-uri 'none'; frame-ancestors 'none'"
    )

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware
