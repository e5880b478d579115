"""The introspection endpoint: whether a token is still good (RFC 7662)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django_eprospera.provider.http import call
from django_eprospera.provider.reader import Reader
from django_eprospera.provider.refusals import grant_refusal

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
    auth, form = credentials.authenticate({"token": token, "token_type_hint": hint})
    path = urlsplit(endpoint).path[:200] or "/"
    answer = call("POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session)
    if answer.status != 200:
        raise grant_refusal(answer)
    return Reader(answer.json(), "Introspection").required_flag("active")
