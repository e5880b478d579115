"""Decorator for the provider's endpoints: allowed methods, with the provider's error envelope for the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

__all__ = ["endpoint"]

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
