"""The parameters of the authorization response, read once and within limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from django_eprospera.errors import SignInRefused

if TYPE_CHECKING:
    from django.http import HttpRequest, QueryDict

__all__ = ["Callback", "take_query"]

_STAGE: Final = "callback"
_LONGEST_CODE: Final = 2048
# The error codes of RFC 6749 section 4.1.2.1 and OpenID Connect Core section 3.1.2.6, by what they mean for the site.
_OURS: Final = frozenset({"invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type"})
_PASSING: Final = frozenset({"server_error", "temporarily_unavailable"})


# Parameters that are secrets, and what error reports show in their place.
_SECRET: Final = ("code", "state")
_HIDDEN: Final = "********************"
# WSGI's variable, and those in which gunicorn and uWSGI repeat it.
_WITH_QUERY: Final = ("QUERY_STRING", "RAW_URI", "REQUEST_URI")


def take_query(request: HttpRequest) -> QueryDict:
    """Return the query of a request, and remove code and state from the request.

    Django's error reports show the URL and the query of a request, and the variables of frames that hold a copy of it.
    """
    query: QueryDict | None = getattr(request, "eprospera_query", None)
    if query is not None or not any(name in request.GET for name in _SECRET):
        return query or request.GET
    query, shown = request.GET, request.GET.copy()
    for name in _SECRET:
        if name in shown:
            shown[name] = _HIDDEN
    request.eprospera_query = query  # type: ignore[attr-defined]  # python-social-auth may make a second backend for a request
    request.GET = shown  # type: ignore[assignment]
    for name in _WITH_QUERY:
        if name in request.META:
            before, mark, _query = str(request.META[name]).rpartition("?")
            request.META[name] = f"{before}{mark}{shown.urlencode(safe='*')}"
    return query


@dataclass(frozen=True, slots=True)
class Callback:
    """The authorization response (RFC 6749 section 4.1.2, RFC 9207), read from the query alone."""

    state: str = field(repr=False)
    code: str = field(repr=False)
    error: str
    issuer: str | None

    @classmethod
    def read(cls, query: QueryDict) -> Callback:
        """Return the response. Raises SignInRefused when a parameter occurs twice or the state is missing."""
        if any(len(query.getlist(name)) > 1 for name in ("state", "code", "error", "iss")):
            raise SignInRefused("duplicate_parameter", _STAGE)
        state = query.get("state", "")
        if not state:
            raise SignInRefused("missing_parameter", _STAGE)
        return cls(state, query.get("code", ""), query.get("error", ""), query.get("iss"))

    def check_issuer(self, issuer: str, *, required: bool) -> None:
        """Raises SignInRefused when the response names another issuer, or none where one is `required`."""
        if self.issuer != issuer if self.issuer is not None else required:
            raise SignInRefused("iss", _STAGE)

    def usable_code(self) -> str:
        """Return the code. Raises SignInRefused for an `error`, and for a missing or impossible code."""
        if self.error == "access_denied":
            raise SignInRefused("access_denied", _STAGE)
        if self.error in _OURS:
            raise SignInRefused("client_refused", _STAGE)
        if self.error:
            raise SignInRefused("provider_unavailable" if self.error in _PASSING else "provider_error", _STAGE)
        if not self.code:
            raise SignInRefused("missing_parameter", _STAGE)
        if len(self.code) > _LONGEST_CODE or not re.fullmatch(r"[\x21-\x7e]+", self.code):
            raise SignInRefused("invalid_parameter", _STAGE)
        return self.code
