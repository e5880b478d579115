"""What the provider's endpoints have in common: allowed methods and the responses 405 and 429."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from django_eprospera.sandbox.state import current

__all__ = ["endpoint", "too_many_requests"]

_View = Callable[..., HttpResponse]


def endpoint(*methods: str) -> Callable[[_View], _View]:
    """Decorator for views that accept `methods`, and HEAD if they accept GET. Other methods get 405 with Allow.

    The views are exempt from the CSRF check: none of them takes a form of the sandbox's pages.
    """
    allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]

    def decorate(view: _View) -> _View:
        @csrf_exempt
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in allowed:
                return JsonResponse({"error": "Method not allowed"}, status=405, headers={"Allow": ", ".join(allowed)})
            return view(request, *args, **kwargs)

        return checked

    return decorate


def too_many_requests(seconds: int, error: str) -> JsonResponse:
    """Return a 429 response. The switch `retry_after` adds the header, which the provider leaves out."""
    headers = {"Retry-After": str(seconds)} if current().switches.retry_after == "yes" else {}
    return JsonResponse({"error": error}, status=429, headers=headers)
