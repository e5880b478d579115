"""How does an authorization code become a verified person? Token request, ID token, UserInfo, all within one deadline.

No models, no views: what comes back is proven and not yet stored.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError, SignInRefused
from django_eprospera.provider.client import Client
from django_eprospera.provider.configured import limits
from django_eprospera.provider.grants import Credentials, TokenAnswer
from django_eprospera.provider.http import Limits, Retries, call
from django_eprospera.provider.id_token import IdToken, UnknownKey, matches, verify
from django_eprospera.provider.key_sets import Keys, known_keys, newer_keys
from django_eprospera.provider.refusals import grant_refusal
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_eprospera.provider.payloads import Userinfo

__all__ = ["Deadline", "Proof", "prove"]

_ENDPOINT: Final = "/api/oauth/token"
# A code lives for minutes, and so does the ID token that it brings.
_MAX_AGE: Final = 600.0


class Deadline:
    """What is left of EPROSPERA_DEADLINE for everything that one request asks the provider."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + conf.EPROSPERA_DEADLINE

    def limits(self) -> Limits:
        """The bounds of the next exchange."""
        return replace(limits(), deadline=self._left())

    def client(self) -> Client:
        """A client that keeps to them. Raises ConfigurationError when its id or secret is not set."""
        if not conf.client_id or not conf.client_secret:
            raise ConfigurationError("Set SOCIAL_AUTH_EPROSPERA_KEY and SOCIAL_AUTH_EPROSPERA_SECRET.")
        return Client(conf.EPROSPERA_BASE_URL, limits=self.limits(), retries=Retries(attempts=2, budget=self._left()))

    def _left(self) -> float:
        return max(self._ends - time.monotonic(), 0.1)


@dataclass(frozen=True, slots=True)
class Proof:
    """A person, proven: the ID token's claims, UserInfo of the same subject, and the tokens of the grant."""

    id_token: IdToken
    userinfo: Userinfo
    tokens: TokenAnswer = field(repr=False)


@forget_locals
def prove(code: str, *, redirect_uri: str, code_verifier: str, nonce: str, deadline: Deadline) -> Proof:
    """Spend the code, by one request that is never repeated, and verify what comes back.

    Raises SignInRefused when it does not verify, InvalidGrant when the code is spent, expired or another client's,
    ClientRejected and ConfigurationError when our settings are wrong, ProviderUnavailable (AnswerLost and MalformedAnswer
    among it).
    """
    endpoint = deadline.client().discovery().token_endpoint
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": code_verifier,
    }
    credentials = Credentials(conf.client_id, conf.client_secret, conf.EPROSPERA_TOKEN_AUTH_METHOD)
    auth, form = credentials.authenticate(form)
    answer = call("POST", endpoint, limits=deadline.limits(), path_template=_ENDPOINT, form=form, auth=auth)
    if answer.status != 200:
        raise grant_refusal(answer)
    granted = TokenAnswer.from_json(answer.json())
    id_token = _verified(granted, nonce, deadline)
    userinfo = deadline.client().userinfo(granted.access_token)
    if not matches(userinfo.sub, id_token.sub):
        raise SignInRefused("sub", "userinfo")
    return Proof(id_token, userinfo, granted)


def _verified(granted: TokenAnswer, nonce: str, deadline: Deadline) -> IdToken:
    if granted.id_token is None:
        raise SignInRefused("no_id_token", "token_exchange")
    client = deadline.client()
    keys = known_keys(client)
    try:
        id_token, claims = _verify(granted, keys)
    except UnknownKey:
        try:
            id_token, claims = _verify(granted, newer_keys(client, than=keys))
        except UnknownKey:
            raise SignInRefused("unknown_key", "id_token") from None
    if not matches(claims.get("nonce"), nonce):
        raise SignInRefused("nonce", "id_token")
    return id_token


def _verify(granted: TokenAnswer, keys: Keys) -> tuple[IdToken, Mapping[str, Any]]:
    return verify(
        granted.id_token or "",
        keys,
        issuer=conf.EPROSPERA_BASE_URL,
        client_id=conf.client_id,
        access_token=granted.access_token,
        now=time.time(),
        skew=conf.EPROSPERA_CLOCK_SKEW.total_seconds(),
        max_age=_MAX_AGE,
    )
