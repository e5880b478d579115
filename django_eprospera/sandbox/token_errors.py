"""Errors of the endpoints that a client's server or device calls, in the form of RFC 6749 section 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, JsonResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORM", "NO_STORE", "malformed", "token_error"]

FORM: Final = "application/x-www-form-urlencoded"
NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def token_error(error: str, description: str = "", status: int = 400) -> JsonResponse:
    """Return an error response."""
    body = {"error": error} | ({"error_description": description} if description else {})
    return JsonResponse(body, status=status, headers=dict(NO_STORE))


def malformed(request: HttpRequest) -> JsonResponse | None:
    """Return the error response to a request that is not a form with one client authentication method, or None."""
    if request.content_type != FORM:
        return token_error("invalid_request", f"The body must be {FORM}")
    if request.GET:
        return token_error("invalid_request", "Parameters belong in the body, not in the URL")
    if repeated := [name for name in request.POST if len(request.POST.getlist(name)) > 1]:
        return token_error("invalid_request", f"Sent more than once: {', '.join(sorted(repeated))}")
    if "Authorization" in request.headers and {"client_id", "client_secret"} & set(request.POST):
        return token_error(
            "invalid_request", "More than one client authentication method: use HTTP Basic or the body, not both"
        )
    return None
