"""The introspection endpoint: whether a token is still good (RFC 7662)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_eprospera.provider.grants import send_token
from django_eprospera.provider.reader import Reader

if TYPE_CHECKING:
    import requests

    from django_eprospera.provider.grants import Credentials
    from django_eprospera.provider.http import Limits

__all__ = ["is_active"]


def is_active(
    endpoint: str,
    credentials: Credentials,
    token: str,
    hint: str,
    *,
    limits: Limits,
    session: requests.Session | None = None,
) -> bool:
    """Return whether a token of this client is good; `hint` is `access_token` or `refresh_token`.

    Raises ClientRejected and ProviderUnavailable (AnswerLost and MalformedAnswer among its subclasses).
    """
    answer = send_token(endpoint, credentials, token, hint, limits=limits, session=session)
    return Reader(answer.json(), "Introspection").required_flag("active")
