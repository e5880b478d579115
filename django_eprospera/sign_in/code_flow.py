"""From an authorization code to a verified person: code exchange, ID token and UserInfo within one deadline.

No models, no views: what comes back is verified and not yet stored.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django_eprospera.conf import conf
from django_eprospera.errors import SignInRefused
from django_eprospera.provider import configured
from django_eprospera.provider.http import Retries
from django_eprospera.provider.id_token import IdToken, UnknownKey, matches, verify
from django_eprospera.provider.key_sets import Keys, known_keys, newer_keys
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_eprospera.provider.client import Client
    from django_eprospera.provider.grants import Tokens
    from django_eprospera.provider.payloads import Userinfo

__all__ = ["Deadline", "Proof", "prove"]

# A code is valid for minutes, and its ID token is as old.
_MAX_AGE: Final = 600.0


class Deadline:
    """What is left of EPROSPERA_DEADLINE, or of `seconds`, for all exchanges with the provider in one request."""

    def __init__(self, seconds: float | None = None) -> None:
        self._ends = time.monotonic() + (conf.EPROSPERA_DEADLINE if seconds is None else seconds)

    def client(self) -> Client:
        """Return a client that keeps to it. Raises ConfigurationError when its id or secret is not set."""
        left = max(self._ends - time.monotonic(), 0.1)
        return configured.client(deadline=left, retries=Retries(attempts=2, budget=left))


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified person: the ID token's claims, UserInfo of the same subject, and the tokens of the grant."""

    id_token: IdToken
    userinfo: Userinfo
    tokens: Tokens = field(repr=False)


@forget_locals
def prove(code: str, *, redirect_uri: str, code_verifier: str, nonce: str, deadline: Deadline) -> Proof:
    """Exchange the code and verify what comes back.

    Raises SignInRefused when it does not verify, InvalidGrant when the code is spent, expired or another client's,
    ClientRejected and ConfigurationError when our settings are wrong, ProviderUnavailable (AnswerLost and MalformedAnswer
    among its subclasses).
    """
    tokens = deadline.client().exchange_code(code, redirect_uri=redirect_uri, code_verifier=code_verifier)
    id_token = _verified(tokens, nonce, deadline)
    userinfo = deadline.client().userinfo(tokens.access_token)
    if not matches(userinfo.sub, id_token.sub):
        raise SignInRefused("sub", "userinfo")
    return Proof(id_token, userinfo, tokens)


def _verified(tokens: Tokens, nonce: str, deadline: Deadline) -> IdToken:
    if tokens.id_token is None:
        raise SignInRefused("no_id_token", "token_exchange")
    client = deadline.client()
    keys = known_keys(client)
    try:
        id_token, claims = _verify(tokens, keys)
    except UnknownKey:
        try:
            id_token, claims = _verify(tokens, newer_keys(client, than=keys))
        except UnknownKey:
            raise SignInRefused("unknown_key", "id_token") from None
    if not matches(claims.get("nonce"), nonce):
        raise SignInRefused("nonce", "id_token")
    return id_token


def _verify(tokens: Tokens, keys: Keys) -> tuple[IdToken, Mapping[str, Any]]:
    return verify(
        tokens.id_token or "",
        keys,
        issuer=conf.EPROSPERA_BASE_URL,
        client_id=conf.client_id,
        access_token=tokens.access_token,
        now=time.time(),
        skew=conf.EPROSPERA_CLOCK_SKEW.total_seconds(),
        max_age=_MAX_AGE,
    )
