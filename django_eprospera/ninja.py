"""Access rules for operations of Django Ninja."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ninja.security import SessionAuth

from django_eprospera.access.rules import evaluate_request
from django_eprospera.decorators import problem

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from django_eprospera.access import AccessRefused, Policy

__all__ = ["AccessAuth", "refusal"]


class AccessAuth(SessionAuth):  # type: ignore[misc]
    """Authentication by Django's session, with protection against CSRF, of users who have what `policy` names.

    `company` is the URL argument with the company in question. A refusal raises AccessRefused; `refusal` answers it:
    `api.add_exception_handler(AccessRefused, refusal)`.
    """

    def __init__(self, policy: Policy, *, company: str = "") -> None:
        super().__init__(csrf=True)
        self._policy, self._company = policy, company

    def authenticate(self, request: HttpRequest, _key: str | None = None) -> Any:
        """Return the user. Raises AccessRefused."""
        match = request.resolver_match
        evaluate_request(request, self._policy, match.kwargs if match else {}, self._company).require()
        return request.user


def refusal(_request: HttpRequest, error: AccessRefused) -> HttpResponse:
    """Return the problem document of a refusal (RFC 9457), with status 403."""
    return problem(error.access)
