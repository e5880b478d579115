"""Middleware that restricts URLs by their beginning, as the setting EPROSPERA_GATES says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.deprecation import MiddlewareMixin

from django_eprospera.access import Policy, evaluate
from django_eprospera.conf import conf
from django_eprospera.decorators import refuse
from django_eprospera.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

__all__ = ["AccessMiddleware"]


class AccessMiddleware(MiddlewareMixin):
    """Restrict the views below the URLs in EPROSPERA_GATES. Put it below Django's AuthenticationMiddleware.

    Of several beginnings that fit, each policy must hold. Views that need no login (`login_not_required`: the sign-in itself)
    stay open. Raises ConfigurationError, when the site starts, for a policy that means nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        self._policies = url_policies()

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Any, _kwargs: Any
    ) -> HttpResponseBase | None:
        """Return the response to a refused request; None if the user has access."""
        if not getattr(view, "login_required", True):
            return None
        for beginning, policy in self._policies:
            if request.path_info.startswith(beginning):
                answer = evaluate(request.user, policy, request=request)
                if not answer.allowed:
                    return refuse(request, answer)
        return None


def url_policies() -> list[tuple[str, Policy]]:
    """Return the policies of EPROSPERA_GATES with the beginnings of their URLs. Raises ConfigurationError."""
    found = []
    for beginning, needs in conf.EPROSPERA_GATES.items():
        try:
            policy = Policy(**needs)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"EPROSPERA_GATES[{beginning!r}] is no policy: {error}") from None
        if policy.company:
            raise ConfigurationError(
                f"EPROSPERA_GATES[{beginning!r}] cannot choose a company. Use access_required(…, company=…) on the views."
            )
        found.append((beginning, policy))
    return found
