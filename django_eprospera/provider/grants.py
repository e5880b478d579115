"""The token and revocation endpoints: code exchange, refresh, revocation.

No request is repeated here: a code or a rotating refresh token is spent by the first request, whether or not its answer
arrives. The caller decides when to refresh.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlsplit

from django_eprospera.errors import AnswerLost, ConfigurationError, MalformedAnswer
from django_eprospera.provider.http import Limits, call, parse
from django_eprospera.provider.reader import Reader
from django_eprospera.provider.refusals import grant_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from django_eprospera.provider.http import Answer

__all__ = ["AUTH_METHODS", "Credentials", "Tokens", "exchange_code", "read_answer", "refresh", "revoke", "send_token"]

AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post")
# A JWT with many claims, and below what servers take in one header.
_MAX_TOKEN: Final = 16_384
_ASSUMED_LIFETIME: Final = 3600
_LONGEST_LIFETIME: Final = 86_400 * 366
_TIMES: Final = ("asked_at", "expires_at")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Client id and secret, and the one method by which they are shown (the provider refuses two at once)."""

    client_id: str
    client_secret: str = field(repr=False)
    method: str = "client_secret_basic"

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a method that is not known."""
        if self.method not in AUTH_METHODS:
            msg = f"EPROSPERA_TOKEN_AUTH_METHOD must be one of {', '.join(AUTH_METHODS)}, not {self.method!r}."
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
class Tokens:
    """The tokens of one answer of the token endpoint (docs/provider.md#token), from the exchange to the stored connection.

    `asked_at` is when they were asked for, `expires_at` when the access token ends. `refresh_token` is None when the former
    one stays valid, `scope` is None when it is the requested one.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)
    scope: str | None
    asked_at: datetime
    expires_at: datetime

    @classmethod
    def from_json(cls, value: Any, asked_at: datetime) -> Tokens:
        """Return the tokens of an answer. Raises MalformedAnswer.

        Strict about tokens, lenient about the rest: refusing the answer would lose a refresh token that was rotated.
        """
        reader = Reader(value, "Tokens")
        if reader.required_text("token_type").lower() != "bearer":
            raise MalformedAnswer("read", "Tokens", "wrong_format", advice="token_type must be Bearer.")
        return cls(
            access_token=_token(reader, "access_token", required=True) or "",
            refresh_token=_token(reader, "refresh_token"),
            id_token=_token(reader, "id_token"),
            scope=reader.text("scope", 4000),
            asked_at=asked_at,
            expires_at=asked_at + timedelta(seconds=_lifetime(value.get("expires_in"))),
        )

    def dump(self) -> str:
        """Return the tokens as text, in clear: seal it before it is kept anywhere."""
        values = asdict(self)
        return json.dumps({**values, **{name: values[name].timestamp() for name in _TIMES}})

    @classmethod
    def load(cls, text: str | bytes) -> Tokens:
        """Return what `dump` wrote. Raises ValueError and TypeError for anything else."""
        values = json.loads(text)
        return cls(**{**values, **{name: datetime.fromtimestamp(values[name], UTC) for name in _TIMES}})


def exchange_code(
    endpoint: str,
    credentials: Credentials,
    code: str,
    *,
    redirect_uri: str,
    code_verifier: str,
    limits: Limits,
    session: requests.Session | None = None,
) -> Tokens:
    """Exchange an authorization code for tokens, by one request.

    Raises InvalidGrant when the code is spent, expired or another client's, ClientRejected, and ProviderUnavailable
    (AnswerLost and MalformedAnswer among its subclasses).
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": code_verifier,
    }
    auth, form = credentials.authenticate(form)
    asked_at = datetime.now(UTC)
    path = _path(endpoint)
    answer = call("POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session)
    if answer.status != 200:
        raise grant_refusal(answer)
    return Tokens.from_json(answer.json(), asked_at)


def refresh(
    endpoint: str,
    credentials: Credentials,
    refresh_token: str,
    *,
    limits: Limits,
    scope: str | None = None,
    asked_at: datetime | None = None,
    session: requests.Session | None = None,
    keep: Callable[[bytes], None] | None = None,
) -> Tokens:
    """Exchange a refresh token for new tokens, by one request.

    `asked_at` is the time now by the caller's clock, if that is another than this host's. `keep` gets the raw answer as it
    arrives, before anything else; `read_answer` reads it.

    Raises InvalidGrant, ClientRejected, ProviderUnavailable when nothing was spent as far as the provider says, and
    AnswerLost whenever it may have been: sent and not answered, or answered with 2xx and a body that cannot be read.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if scope is not None:
        form["scope"] = scope
    auth, form = credentials.authenticate(form)
    path = _path(endpoint)
    asked_at = asked_at or datetime.now(UTC)
    try:
        answer = call(
            "POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session, keep=keep
        )
        if answer.status == 200:
            return Tokens.from_json(answer.json(), asked_at)
        wrong = grant_refusal(answer)
        status: int | None = answer.status
    except MalformedAnswer as error:
        wrong = error
        status = error.status if error.status is not None else 200
    if isinstance(wrong, MalformedAnswer) and status is not None and status < 300:
        wrong = AnswerLost("POST", path, wrong.code, status=status, request_id=wrong.request_id, advice=wrong.advice)
    raise wrong


def read_answer(raw: bytes, asked_at: datetime) -> Tokens:
    """Return the tokens of an answer that `refresh` passed to `keep`. Raises MalformedAnswer, also if it is incomplete."""
    return Tokens.from_json(parse("POST", "/api/oauth/token", raw).json(), asked_at)


def revoke(
    endpoint: str,
    credentials: Credentials,
    token: str,
    hint: str,
    *,
    limits: Limits,
    session: requests.Session | None = None,
) -> None:
    """Revoke a token (RFC 7009); `hint` is `access_token` or `refresh_token`. A token that is inactive already is no error.

    Raises ClientRejected and ProviderUnavailable; after the latter it may be tried again.
    """
    send_token(endpoint, credentials, token, hint, limits=limits, session=session)


def send_token(
    endpoint: str,
    credentials: Credentials,
    token: str,
    hint: str,
    *,
    limits: Limits,
    session: requests.Session | None = None,
) -> Answer:
    """Send a token to the endpoint of revocation or introspection, and return the answer of status 200.

    Raises ClientRejected and ProviderUnavailable.
    """
    auth, form = credentials.authenticate({"token": token, "token_type_hint": hint})
    path = _path(endpoint)
    answer = call("POST", endpoint, limits=limits, path_template=path, form=form, auth=auth, session=session)
    if answer.status != 200:
        raise grant_refusal(answer)
    return answer


def _path(endpoint: str) -> str:
    return urlsplit(endpoint).path[:200] or "/"


def _token(reader: Reader, name: str, *, required: bool = False) -> str | None:
    value = reader.required_text(name, _MAX_TOKEN) if required else reader.text(name, _MAX_TOKEN)
    if not value:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise MalformedAnswer("read", "Tokens", "wrong_format", advice=f"{name} must be printable ASCII.")
    return value


def _lifetime(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return _ASSUMED_LIFETIME
    return int(min(max(value, 1), _LONGEST_LIFETIME))
