"""Valid access tokens, with at most one refresh per connection under way and no rotated token lost.

A refresh token can be used once: every refresh rotates it (docs/provider.md#token). A caller first takes a *lease* on the
connection: one UPDATE that also records that a refresh is being sent, committed before the request. Callers without the lease
wait for its outcome. The lease expires by the database's clock if its holder dies. The new pair is committed before it is used.
No transaction and no lock is held while the provider is waited for.
"""

from __future__ import annotations

import hmac
import logging
import math
import random
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import router

from django_eprospera.conf import conf
from django_eprospera.errors import (
    AnswerLost,
    ApiError,
    ClientRejected,
    InvalidGrant,
    MalformedAnswer,
    ProviderUnavailable,
    RefreshBusy,
    RefreshPaused,
    RefreshRefused,
    SignInRefused,
)
from django_eprospera.models import Connection
from django_eprospera.provider import id_token, key_sets
from django_eprospera.provider.configured import client as make_client
from django_eprospera.provider.http import Retries
from django_eprospera.scopes import OPENID
from django_eprospera.tokens import clock, durable, lease, spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django_eprospera.crypto import Secret
    from django_eprospera.provider.client import Client
    from django_eprospera.provider.grants import Tokens

__all__ = ["access_token", "renew"]

logger = logging.getLogger("django_eprospera.tokens")

# A token that ends sooner than this is no longer handed out, not even when it cannot be renewed.
_LAST_SECONDS: Final = timedelta(seconds=5)
# What proves that an ID token is not of this provider, for this client and person. Nothing else may end the grant.
_FORGED: Final = frozenset({"not_a_jwt", "alg", "crit", "signature", "iss", "aud", "azp", "sub", "at_hash"})
_CAUSES: Final = Connection.Cause


def access_token(connection: Connection, *, rejected: str | None = None, patient: bool = True) -> Secret:
    """Return a valid access token of `connection`. Refreshes it if it has expired or expires soon.

    `rejected` is a token that the provider has just refused with 401: it is not handed out again. With `patient=False` a
    refresh is sent once, however unavailable the provider is. The instance is brought up to date; it need not (and cannot) be
    saved.

    Raises RefreshBusy when another caller's refresh did not finish in time, RefreshPaused when the provider is unavailable or
    its answer was lost, GrantGone when the person has to sign in again, RefreshRefused when the database could not keep a new
    token now, ClientRejected when the provider refuses the client, ConfigurationError when a setting or key is missing, and
    SealedValueError when a stored token cannot be decrypted.
    """
    alias = router.db_for_write(Connection, instance=connection)
    row = lease.load(alias, connection.pk)
    if not _usable(row, _margin(row), rejected):
        try:
            # In a transaction the row is read anew: the caller's may have what no other database connection sees.
            known = None if durable.in_transaction(alias) else row
            row = durable.run(alias, lambda: renew(alias, connection.pk, known, rejected=rejected, patient=patient))
        except (RefreshBusy, RefreshPaused, RefreshRefused, ClientRejected):
            # Renewal begins before the old token expires, so an error in between still leaves a valid token.
            if not _usable(row, _LAST_SECONDS, rejected):
                raise
    connection.__dict__.update({name: row.__dict__[name] for name in (*Connection.TOKEN_FIELDS, "scope", "used_at")})
    token: Secret = connection.access_token
    return token


def renew(
    alias: str,
    pk: Any,
    known: Connection | None = None,
    *,
    rejected: str | None = None,
    keep_alive: bool = False,
    patient: bool = True,
) -> Connection:
    """Bring the connection's token up to date and return its row. Outside any transaction; else as `access_token`.

    `known` is the row as it was loaded a moment ago.

    With `keep_alive` the refresh happens although the access token is still valid, and does not count as use.
    """
    patience = time.monotonic() + conf.EPROSPERA_REFRESH_WAIT.total_seconds()
    pause = 0.05
    row = first = known or lease.load(alias, pk)
    while True:
        if row.generation != first.generation if keep_alive else _usable(row, _margin(row), rejected):
            return row
        _refuse_while_paused(row)
        client, holder = make_client(retries=Retries(patient=patient)), uuid.uuid4()
        keys = _prepare(alias, row, client)
        if lease.claim(alias, row, holder):
            budget = conf.EPROSPERA_REFRESH_BUDGET.total_seconds() if patient else 0.0
            renewed = _refresh(alias, row, holder, client, keys, keep_alive=keep_alive, budget=budget)
            if renewed is not None:
                return renewed
        elif time.monotonic() > patience:
            raise RefreshBusy(
                f"Connection {pk} is being refreshed by somebody else, who did not finish in time. Try again shortly."
            )
        else:
            durable.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads the waiting, keeps no secret
            pause = min(pause * 1.6, 1.0)
        row = lease.load(alias, pk)


def _margin(row: Connection) -> timedelta:
    """How long before its end this row's token is renewed: spread over connections, steady for one token."""
    spread = random.Random(f"{row.pk}{row.generation}").uniform(1.0, 1.5)  # noqa: S311 - spreads load, keeps no secret
    return conf.EPROSPERA_REFRESH_MARGIN * spread


def _usable(row: Connection, margin: timedelta, rejected: str | None) -> bool:
    expires = row.access_token_expires_at
    if expires is None or expires - clock.now(row) < margin or row.access_token is None:
        return False
    return rejected is None or not hmac.compare_digest(str(row.access_token).encode(), rejected.encode())


def _refuse_while_paused(row: Connection) -> None:
    if row.refresh_not_before is not None and row.refresh_not_before > clock.now(row):
        raise RefreshPaused(
            f"e-Próspera could not renew connection {row.pk}; it is asked again after {row.refresh_not_before:%H:%M:%S} UTC.",
            row.refresh_not_before,
        )


def _prepare(alias: str, row: Connection, client: Client) -> key_sets.Keys:
    """Fetch discovery and keys before the lease is taken, so that no request is needed between the answer and the commit."""
    try:
        client.discovery()
        return key_sets.known_keys(client) if OPENID in row.scopes else ()
    except ApiError as error:
        raise lease.pause(alias, row, error) from None


def _refresh(
    alias: str,
    row: Connection,
    holder: uuid.UUID,
    client: Client,
    keys: key_sets.Keys,
    *,
    keep_alive: bool,
    budget: float,
) -> Connection | None:
    """Spend the refresh token and keep what comes back. None: the grant was replaced meanwhile, look again."""
    # Whether an earlier holder died or lost its answer: then the token may be spent already.
    uncertain = row.refresh_sent_at is not None
    if uncertain and (tokens := spool.find(row)):
        logger.info("connection %s: a new token that its process could not commit is taken from the spool", row.pk)
        return _keep(alias, row, client, keys, tokens, keep_alive=keep_alive)
    if row.refresh_token is None:
        lease.give_up(alias, row, _CAUSES.NO_REFRESH_TOKEN)
        return None
    try:
        with spool.ready(row) as keep:
            tokens = _ask(client, row, keep, budget)
    except InvalidGrant:
        lease.give_up(alias, row, _CAUSES.ANSWER_LOST if uncertain else _CAUSES.INVALID_GRANT)
        return None
    except ClientRejected as error:
        lease.release(alias, row, holder, error, sent=uncertain)
        raise
    except ProviderUnavailable as error:
        unknown = isinstance(error, (AnswerLost, MalformedAnswer))
        raise lease.release(alias, row, holder, error, sent=uncertain or unknown) from None
    return _keep(alias, row, client, keys, tokens, keep_alive=keep_alive)


def _ask(client: Client, row: Connection, keep: Callable[[datetime, bytes], None], budget: float) -> Tokens:
    """Send the refresh; repeat it within the budget (seconds) while the provider says that it did nothing."""
    end = time.monotonic() + budget
    pause = 0.2
    while True:
        try:
            asked_at = clock.now(row)
            return client.refresh(row.refresh_token, asked_at=asked_at, keep=partial(keep, asked_at))
        except (AnswerLost, MalformedAnswer):
            raise  # it may have taken effect: sent again at once, it could end the grant
        except ProviderUnavailable as error:
            wait = max(pause * random.uniform(0.5, 1.5), error.retry_after or 0.0)  # noqa: S311 - spreads load
            if time.monotonic() + wait > end:
                raise
            time.sleep(wait)
            pause = min(pause * 2, 5.0)


def _keep(
    alias: str, row: Connection, client: Client, keys: key_sets.Keys, tokens: Tokens, *, keep_alive: bool
) -> Connection | None:
    verified = True
    try:
        _verify(row, keys, tokens)
    except (id_token.UnknownKey, MalformedAnswer):
        # Signed with a key that is new to us. To fetch it takes time in which we could die: commit first, hand out later.
        verified = False
    except SignInRefused as error:
        _forged(alias, row, error)
        return None
    usable = tokens if verified else replace(tokens, expires_at=tokens.asked_at)
    stored = lease.store(alias, row, usable, keep_alive=keep_alive)
    if stored is None or verified:
        return stored
    try:
        _verify(row, key_sets.newer_keys(client, keys) or (), tokens)
    except SignInRefused as error:
        _forged(alias, stored, error)
        return None
    except id_token.UnknownKey:
        # Its key set lags behind, or we may not ask for it again yet. The pair is kept; it is not handed out unverified.
        raise lease.pause(
            alias, stored, ProviderUnavailable("GET", "/api/oauth/.well-known/jwks.json", "unknown_key")
        ) from None
    except ApiError as error:
        raise lease.pause(alias, stored, error) from None
    return lease.hand_out(alias, stored, tokens.expires_at)


def _verify(row: Connection, keys: key_sets.Keys, tokens: Tokens) -> None:
    """Check that a refreshed ID token is genuine, and of the same `iss`, `sub` and `aud` (OpenID Connect Core section 12.2).

    Its times are not compared with a clock of ours, which may be wrong: time alone must not end a grant. Raises SignInRefused
    for a forgery, UnknownKey, and MalformedAnswer for claims that are missing or have another type.
    """
    if tokens.id_token is None:
        return
    try:
        found, _ = id_token.verify(
            tokens.id_token,
            keys,
            issuer=row.issuer,
            client_id=row.client_id,
            access_token=tokens.access_token,
            now=time.time(),
            skew=math.inf,
            max_age=0.0,
        )
    except SignInRefused as error:
        if error.reason in _FORGED:
            raise
        raise MalformedAnswer("POST", "/api/oauth/token", f"id_token_{error.reason}") from None
    if not id_token.matches(found.sub, row.sub):
        raise SignInRefused("sub", "refresh")


def _forged(alias: str, row: Connection, error: Exception) -> None:
    logger.error("connection %s: the refreshed ID token is not of this person and client: %s", row.pk, error)
    spool.drop(row)
    lease.give_up(alias, row, _CAUSES.OTHER_SUBJECT)
