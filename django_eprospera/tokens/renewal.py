"""How does a caller get an access token that is valid now, with at most one refresh under way, and none lost?

A refresh token is spent once: every refresh rotates it (contract section 5). So a caller first takes a *lease* on the
connection: one UPDATE that also notes that a refresh is being sent, committed before anything is sent. Whoever does not get
the lease waits for its outcome. The lease ends by itself, by the database's clock, when its holder dies. What comes back is
committed before it is used. Nothing is held open on the database meanwhile: no transaction, no lock.
"""

from __future__ import annotations

import hmac
import logging
import random
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError, connections, router
from django.db.models import ExpressionWrapper, F, Q, Value, fields
from django.db.models.functions import Now
from django.utils import timezone

from django_eprospera import id_token, key_sets
from django_eprospera.conf import conf
from django_eprospera.errors import (
    AnswerLost,
    ApiError,
    ClientRejected,
    GrantGone,
    InvalidGrant,
    MalformedAnswer,
    ProviderUnavailable,
    RefreshBusy,
    RefreshPaused,
    RefreshRefused,
    SignInRefused,
)
from django_eprospera.models import Connection
from django_eprospera.provider import client as make_client
from django_eprospera.scopes import OPENID
from django_eprospera.signals import grant_lost
from django_eprospera.tokens import durable, spool
from django_eprospera.tokens.revocation import queue_tokens

if TYPE_CHECKING:
    from datetime import datetime

    from django_eprospera.api import Client
    from django_eprospera.crypto import Secret
    from django_eprospera.grants import TokenAnswer

__all__ = ["access_token", "renew"]

logger = logging.getLogger("django_eprospera.tokens")

# A token that ends sooner than this is no longer handed out, not even when it cannot be renewed.
_LAST_SECONDS: Final = timedelta(seconds=5)
# Seconds within which a refreshed ID token has to have been issued.
_FRESH: Final = 600.0
# Seconds after which an answer has come, or never comes: attempts within the budget, and one exchange.
_ARRIVES: Final = 60.0
_CAUSES: Final = Connection.Cause


def access_token(connection: Connection, *, rejected: str | None = None) -> Secret:
    """Return an access token of `connection` that is valid now, refreshing it when it is not, or soon will not be.

    `rejected` is a token that the provider has just refused with 401: it is not handed out again. The instance is brought
    up to date; it need not (and cannot) be saved.

    Raises RefreshBusy when somebody else is refreshing and did not finish in time, RefreshPaused when the provider is
    unavailable or its answer was lost, GrantGone when the person has to sign in again, RefreshRefused when the database could
    not keep a new token now, ClientRejected when the provider refuses our client.
    """
    alias = router.db_for_write(Connection, instance=connection)
    row = _load(alias, connection.pk)
    if not _usable(row, _margin(row), rejected):
        try:
            row = durable.run(alias, lambda: renew(alias, connection.pk, rejected=rejected))
        except (RefreshBusy, RefreshPaused, RefreshRefused, ClientRejected):
            # Renewal begins before the old token ends, so that trouble in between costs nobody anything.
            if not _usable(row, _LAST_SECONDS, rejected):
                raise
    connection.__dict__.update({name: row.__dict__[name] for name in (*Connection.TOKEN_FIELDS, "scope", "used_at")})
    token: Secret = connection.access_token
    return token


def renew(alias: str, pk: Any, *, rejected: str | None = None, keep_alive: bool = False) -> Connection:
    """Bring the connection's token up to date and return its row. Outside any transaction; else as `access_token`.

    With `keep_alive` the refresh happens although the access token is still valid, and does not count as use.
    """
    patience = time.monotonic() + conf.EPROSPERA_REFRESH_WAIT.total_seconds()
    pause = 0.05
    first = _load(alias, pk)
    row = first
    while True:
        if row.generation != first.generation if keep_alive else _usable(row, _margin(row), rejected):
            return row
        _refuse_while_paused(row)
        client, holder = make_client(), uuid.uuid4()
        keys = _prepare(alias, row, client)
        if _claim(alias, row, holder):
            renewed = _refresh(alias, row, holder, client, keys, keep_alive=keep_alive)
            if renewed is not None:
                return renewed
        elif time.monotonic() > patience:
            raise RefreshBusy(
                f"Connection {pk} is being refreshed by somebody else, who did not finish in time. Try again shortly."
            )
        else:
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads the waiting, keeps no secret
            pause = min(pause * 1.6, 1.0)
        row = _load(alias, pk)


def _load(alias: str, pk: Any) -> Connection:
    row: Connection | None = Connection.objects.using(alias).filter(pk=pk).first()
    if row is None:
        raise GrantGone(
            "This connection is no longer there: it was disconnected. The person has to sign in again.", "disconnected"
        )
    if (row.issuer, row.client_id) != (conf.EPROSPERA_BASE_URL, conf.client_id):
        # A token must not reach another provider or client than its own, staging's not production's.
        raise GrantGone(
            f"Connection {pk} belongs to another provider or client than EPROSPERA_BASE_URL and SOCIAL_AUTH_EPROSPERA_KEY "
            "name. The person has to sign in with e-Próspera again.",
            "other_provider",
        )
    if row.state == Connection.State.REAUTHORIZE:
        raise GrantGone(
            f"The grant of connection {pk} ended ({row.state_cause}, {row.state_changed_at:%Y-%m-%d %H:%M} UTC). "
            "The person has to sign in with e-Próspera again.",
            row.state_cause,
        )
    return row


def _margin(row: Connection) -> timedelta:
    """How long before its end this row's token is renewed: spread over connections, steady for one token."""
    spread = random.Random(f"{row.pk}{row.generation}").uniform(1.0, 1.5)  # noqa: S311 - spreads load, keeps no secret
    return conf.EPROSPERA_REFRESH_MARGIN * spread


def _usable(row: Connection, margin: timedelta, rejected: str | None) -> bool:
    expires = row.access_token_expires_at
    if expires is None or expires - timezone.now() < margin or row.access_token is None:
        return False
    return rejected is None or not hmac.compare_digest(str(row.access_token).encode(), rejected.encode())


def _refuse_while_paused(row: Connection) -> None:
    if row.refresh_not_before is not None and row.refresh_not_before > timezone.now():
        raise RefreshPaused(
            f"e-Próspera could not renew connection {row.pk}; it is asked again after {row.refresh_not_before:%H:%M:%S} UTC.",
            row.refresh_not_before,
        )


def _claim(alias: str, row: Connection, holder: uuid.UUID) -> bool:
    """Take the lease, and note that a refresh is being sent. One statement, committed when this returns."""
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    until = ExpressionWrapper(Now() + Value(conf.EPROSPERA_REFRESH_LEASE), output_field=fields.DateTimeField())
    mine = Connection.objects.using(alias).filter(
        free,
        pk=row.pk,
        generation=row.generation,
        state=Connection.State.ACTIVE,
        # As they were read: somebody may have lost an answer since, or noted a pause.
        **_as_read(row, "refresh_sent_at"),
        **_as_read(row, "refresh_not_before"),
    )
    try:
        with durable.short_lock_wait(alias):
            return bool(mine.update(lease_holder=holder, lease_until=until, refresh_sent_at=timezone.now()))
    except OperationalError:
        raise RefreshRefused(
            f"The row of connection {row.pk} is locked by a transaction, perhaps the caller's own, so a new token could not be "
            "kept. Nothing was spent. Ask for the access token before changing or locking the connection."
        ) from None


def _as_read(row: Connection, name: str) -> dict[str, Any]:
    value = getattr(row, name)
    return {f"{name}__isnull": True} if value is None else {name: value}


def _prepare(alias: str, row: Connection, client: Client) -> key_sets.Keys:
    """Fetch beforehand what a refresh needs: the lease is for sending it, and between answer and commit lies arithmetic."""
    try:
        client.discovery()
        return key_sets.known_keys(client) if OPENID in row.scopes else ()
    except ApiError as error:
        raise _pause(alias, row, error) from None


def _refresh(
    alias: str, row: Connection, holder: uuid.UUID, client: Client, keys: key_sets.Keys, *, keep_alive: bool
) -> Connection | None:
    """Spend the refresh token and keep what comes back. None: the grant was replaced meanwhile, look again."""
    # Whether an earlier holder died or lost its answer: then the token may be spent already.
    uncertain = row.refresh_sent_at is not None
    if uncertain and (found := spool.find(row)):
        answer, asked_at = found
        logger.info("connection %s: a new token that its process could not commit is taken from the spool", row.pk)
        return _keep(alias, row, client, keys, answer, asked_at, keep_alive=keep_alive)
    if row.refresh_token is None:
        _give_up(alias, row, _CAUSES.NO_REFRESH_TOKEN)
        return None
    asked_at = timezone.now()
    try:
        with spool.ready(row) as keep:
            answer = _ask(client, row)
            keep(answer, asked_at)
    except InvalidGrant:
        _give_up(alias, row, _CAUSES.ANSWER_LOST if uncertain else _CAUSES.INVALID_GRANT)
        return None
    except ClientRejected as error:
        _release(alias, row, holder, error, sent=uncertain)
        raise
    except ProviderUnavailable as error:
        unknown = isinstance(error, (AnswerLost, MalformedAnswer))
        raise _release(alias, row, holder, error, sent=uncertain or unknown) from None
    return _keep(alias, row, client, keys, answer, asked_at, keep_alive=keep_alive)


def _ask(client: Client, row: Connection) -> TokenAnswer:
    """Send the refresh; repeat it within the budget while the provider says that it did nothing."""
    end = time.monotonic() + conf.EPROSPERA_REFRESH_BUDGET.total_seconds()
    pause = 0.2
    while True:
        try:
            return client.refresh(row.refresh_token)
        except (AnswerLost, MalformedAnswer):
            raise  # it may have taken effect: sent again at once, it could end the grant
        except ProviderUnavailable as error:
            wait = max(pause * random.uniform(0.5, 1.5), error.retry_after or 0.0)  # noqa: S311 - spreads load
            if time.monotonic() + wait > end:
                raise
            time.sleep(wait)
            pause = min(pause * 2, 5.0)


def _keep(
    alias: str,
    row: Connection,
    client: Client,
    keys: key_sets.Keys,
    answer: TokenAnswer,
    asked_at: datetime,
    *,
    keep_alive: bool,
) -> Connection | None:
    expires = asked_at + timedelta(seconds=answer.expires_in)
    verified = True
    try:
        _verify(row, keys, answer, asked_at)
    except id_token.UnknownKey:
        # Signed with a key that is new to us. To fetch it takes time in which we could die: commit first, hand out later.
        verified = False
    except SignInRefused as error:
        _forged(alias, row, error)
        return None
    stored = _store(alias, row, answer, expires if verified else asked_at, asked_at, keep_alive=keep_alive)
    if stored is None or verified:
        return stored
    try:
        _verify(row, key_sets.newer_keys(client, keys) or (), answer, asked_at)
    except SignInRefused as error:
        _forged(alias, stored, error)
        return None
    except id_token.UnknownKey:
        # Its key set lags behind, or we may not ask for it again yet. The pair is kept; it is not handed out unverified.
        raise _pause(
            alias, stored, ProviderUnavailable("GET", "/api/oauth/.well-known/jwks.json", "unknown_key")
        ) from None
    except ApiError as error:
        raise _pause(alias, stored, error) from None
    rows = Connection.objects.using(alias).filter(pk=row.pk, generation=stored.generation)
    rows.update(access_token_expires_at=expires)
    return _load(alias, row.pk)


def _verify(row: Connection, keys: key_sets.Keys, answer: TokenAnswer, asked_at: datetime) -> None:
    """Is a refreshed ID token genuine, and of the same `iss`, `sub` and `aud`? (OpenID Connect Core 1.0, section 12.2)"""
    if answer.id_token is None:
        return
    found, _ = id_token.verify(
        answer.id_token,
        keys,
        issuer=row.issuer,
        client_id=row.client_id,
        access_token=answer.access_token,
        # An answer from the spool is as old as it is: it is judged as of when it came.
        now=min(time.time(), asked_at.timestamp() + _ARRIVES),
        skew=conf.EPROSPERA_CLOCK_SKEW.total_seconds(),
        max_age=_FRESH,
    )
    if not id_token.matches(found.sub, row.sub):
        raise SignInRefused("sub", "refresh")


def _store(
    alias: str, row: Connection, answer: TokenAnswer, expires: datetime, asked_at: datetime, *, keep_alive: bool
) -> Connection | None:
    """Commit the new pair. It replaces only the pair that was spent for it, whoever holds the lease by now."""
    meta = Connection._meta
    values: dict[str, Any] = {
        "access_token": meta.get_field("access_token").seal(answer.access_token, row),
        "access_token_expires_at": expires,
        "generation": F("generation") + 1,
        "lease_holder": None,
        "lease_until": None,
        "refresh_sent_at": None,
        "refresh_not_before": None,
    }
    if answer.refresh_token is not None:  # absent: the old one stays good (contract section 5)
        values["refresh_token"] = meta.get_field("refresh_token").seal(answer.refresh_token, row)
        values["refresh_token_expires_at"] = asked_at + conf.EPROSPERA_REFRESH_TOKEN_LIFETIME
    if answer.scope is not None:
        values["scope"] = answer.scope
    if not keep_alive:
        values["used_at"] = asked_at
    rows = Connection.objects.using(alias).filter(pk=row.pk, generation=row.generation, state=Connection.State.ACTIVE)
    updated = _insist(alias, lambda: rows.update(**values))
    spool.drop(row)
    if not updated:
        # The connection was replaced by a sign-in, or disconnected, while we asked: what came back is to end with it.
        replaced = Connection.objects.using(alias).filter(pk=row.pk).exists()
        queue_tokens(alias, row, refresh_token=answer.refresh_token, access_token=answer.access_token, hold=replaced)
        return None
    logger.info("connection %s: refreshed, generation %d", row.pk, row.generation + 1)
    return _load(alias, row.pk)


def _insist(alias: str, write: Any) -> int:
    """Go on trying to write for as long as the lease lasts: what is to be written exists nowhere else."""
    end = time.monotonic() + conf.EPROSPERA_REFRESH_LEASE.total_seconds()
    pause = 0.05
    while True:
        try:
            return int(write())
        except (OperationalError, InterfaceError):
            if connections[alias].in_atomic_block or time.monotonic() + pause > end:
                raise
            connections[alias].close()
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def _release(alias: str, row: Connection, holder: uuid.UUID, error: ApiError, *, sent: bool) -> RefreshPaused:
    """Give the lease back and pause; `sent` says that the refresh token may be spent. Returns what to raise."""
    now = timezone.now()
    paused = _paused(row, error, now)
    values = {
        "lease_holder": None,
        "lease_until": None,
        "refresh_sent_at": now if sent else None,
        "refresh_not_before": paused.retry_at,
    }
    Connection.objects.using(alias).filter(pk=row.pk, lease_holder=holder).update(**values)
    return paused


def _pause(alias: str, row: Connection, error: ApiError) -> RefreshPaused:
    """Note a pause without a lease. Returns what to raise."""
    paused = _paused(row, error, timezone.now())
    rows = Connection.objects.using(alias).filter(pk=row.pk, generation=row.generation)
    rows.update(refresh_not_before=paused.retry_at)
    return paused


def _paused(row: Connection, error: ApiError, now: datetime) -> RefreshPaused:
    retry_at = now + max(conf.EPROSPERA_REFRESH_PAUSE, timedelta(seconds=min(error.retry_after or 0.0, 3_600.0)))
    logger.warning("connection %s: not refreshed: %s", row.pk, error)
    return RefreshPaused(f"e-Próspera did not renew connection {row.pk}: {error} It is asked again later.", retry_at)


def _forged(alias: str, row: Connection, error: Exception) -> None:
    logger.error("connection %s: the refreshed ID token is not of this person and client: %s", row.pk, error)
    spool.drop(row)
    _give_up(alias, row, _CAUSES.OTHER_SUBJECT)


def _give_up(alias: str, row: Connection, cause: Connection.Cause) -> None:
    """Mark the connection `reauthorize`, unless its grant was replaced meanwhile. Raises GrantGone through `_load`."""
    rows = Connection.objects.using(alias).filter(pk=row.pk, generation=row.generation, state=Connection.State.ACTIVE)
    changed = rows.update(
        state=Connection.State.REAUTHORIZE,
        state_cause=cause,
        state_changed_at=timezone.now(),
        access_token=None,
        access_token_expires_at=None,
        refresh_token=None,
        refresh_token_expires_at=None,
        lease_holder=None,
        lease_until=None,
        refresh_sent_at=None,
        refresh_not_before=None,
    )
    if changed:
        logger.warning("connection %s: the grant is gone: %s", row.pk, cause)
        for receiver, failure in grant_lost.send_robust(
            Connection, connection=Connection.objects.using(alias).get(pk=row.pk), cause=str(cause)
        ):
            if isinstance(failure, (Exception, DatabaseError)):
                logger.error("receiver %r of grant_lost failed: %s", receiver, type(failure).__name__)
