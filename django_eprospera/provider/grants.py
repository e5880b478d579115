"""How is a refresh token spent, and how is a token given back? The token and revocation endpoints. No models, no Django.

Nothing here is ever sent twice: a rotating refresh token is spent by the first request, whether or not its answer arrives.
Who refreshes, and when, is decided above.
"""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlsplit

from django_eprospera.errors import AnswerLost, ConfigurationError, MalformedAnswer
from django_eprospera.provider.http import Limits, call
from django_eprospera.provider.reader import Reader
from django_eprospera.provider.refusals import grant_refusal

if TYPE_CHECKING:
    import requests

__all__ = ["AUTH_METHODS", "Credentials", "TokenAnswer", "refresh", "revoke"]

AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post")
# A JWT with many claims, and below what servers take in one header.
_MAX_TOKEN: Final = 16_384
_ASSUMED_LIFETIME: Final = 3600
_LONGEST_LIFETIME: Final = 86_400 * 366


@dataclass(frozen=True, slots=True)
class Credentials:
    """Client id and secret, and the one method by which they are shown (the provider refuses two at once)."""

    client_id: str
    client_secret: str = field(repr=False)
    method: str = "client_secret_basic"

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a method that is not known."""
        if self.method not in AUTH_METHODS:
            msg = f"EPROSPERA_TOKEN_AUTH_METHOD has to be one of {', '.join(AUTH_METHODS)}."
            raise ConfigurationError(msg)

    def authenticate(self, form: dict[str, str]) -> tuple[str | None, dict[str, str]]:
        """The Authorization header and the form to send (RFC 6749 section 2.3.1).

        Raises ConfigurationError when id or secret is empty.
        """
        if not self.client_id or not self.client_secret:
            msg = "The client id or the client secret is empty: set SOCIAL_AUTH_EPROSPERA_KEY and SOCIAL_AUTH_EPROSPERA_SECRET."
            raise ConfigurationError(msg)
        if self.method == "client_secret_post":
            return None, {**form, "client_id": self.client_id, "client_secret": self.client_secret}
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}", form


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the token endpoint hands out (docs/provider.md#token); `expires_in` in seconds from now.

    No `refresh_token`: the old one stays good. No `scope`: what was asked for.
    """

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str | None = field(repr=False)
    scope: str | None
    id_token: str | None = field(repr=False)

    @classmethod
    def from_json(cls, value: Any) -> TokenAnswer:
        """Strict about tokens, lenient about the rest: refusing the answer would lose a refresh token that was rotated."""
        reader = Reader(value, "TokenAnswer")
        if reader.required_text("token_type").lower() != "bearer":
            raise MalformedAnswer("read", "TokenAnswer", "wrong_format", advice="token_type has to be Bearer.")
        return cls(
            access_token=_token(reader, "access_token", required=True) or "",
            expires_in=_lifetime(value.get("expires_in")),
            refresh_token=_token(reader, "refresh_token"),
            scope=reader.text("scope", 4000),
            id_token=_token(reader, "id_token"),
        )


def refresh(
    endpoint: str,
    credentials: Credentials,
    refresh_token: str,
    *,
    limits: Limits,
    scope: str | None = None,
    session: requests.Session | None = None,
) -> TokenAnswer:
    """Spend a refresh token, once.

    Raises InvalidGrant, ClientRejected, ProviderUnavailable when nothing was spent as far as the provider says, and
    AnswerLost whenever it may have been: sent and not answered, or answered with 2xx and nonsense.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if scope is not None:
        form["scope"] = scope
    auth, form = credentials.authenticate(form)
    path = _path(endpoint)
    try:
        answer = call("POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session)
        if answer.status == 200:
            return TokenAnswer.from_json(answer.json())
        wrong = grant_refusal(answer)
        status: int | None = answer.status
    except MalformedAnswer as error:
        wrong = error
        status = error.status if error.status is not None else 200
    if isinstance(wrong, MalformedAnswer) and status is not None and status < 300:
        wrong = AnswerLost("POST", path, wrong.code, status=status, request_id=wrong.request_id, advice=wrong.advice)
    raise wrong


def revoke(
    endpoint: str,
    credentials: Credentials,
    token: str,
    hint: str,
    *,
    limits: Limits,
    session: requests.Session | None = None,
) -> None:
    """Give a token back (RFC 7009); `hint` is `access_token` or `refresh_token`. A token that is dead already is fine.

    Raises ClientRejected and ProviderUnavailable; after the latter it may be tried again.
    """
    auth, form = credentials.authenticate({"token": token, "token_type_hint": hint})
    path = _path(endpoint)
    answer = call("POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session)
    if answer.status != 200:
        raise grant_refusal(answer)


def _path(endpoint: str) -> str:
    return urlsplit(endpoint).path[:200] or "/"


def _token(reader: Reader, name: str, *, required: bool = False) -> str | None:
    value = reader.required_text(name, _MAX_TOKEN) if required else reader.text(name, _MAX_TOKEN)
    if not value:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise MalformedAnswer("read", "TokenAnswer", "wrong_format", advice=f"{name} has to be printable ASCII.")
    return value


def _lifetime(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return _ASSUMED_LIFETIME
    return int(min(max(value, 1), _LONGEST_LIFETIME))
