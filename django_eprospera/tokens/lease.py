"""Database writes of a renewal. Each is one statement; none waits for the provider.

The *lease* names the caller that may send a refresh. The *generation* names the pair of tokens that a write belongs to, so that
a late write never changes a newer pair.
"""

from __future__ import annotations

import logging
import time
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import InterfaceError, OperationalError, connections
from django.db.models import ExpressionWrapper, Q, Value, fields
from django.db.models.functions import Now

from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, GrantGone, RefreshPaused, RefreshRefused
from django_eprospera.models import Connection
from django_eprospera.signals import grant_lost
from django_eprospera.tokens import clock, durable, spool
from django_eprospera.tokens.revocation import queue_tokens

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from django.db.models import QuerySet

    from django_eprospera.provider.grants import Tokens

__all__ = ["IDLE", "claim", "give_up", "hand_out", "load", "pause", "release", "store"]

logger = logging.getLogger("django_eprospera.tokens")

# No refresh is under way, no outcome is unknown, no pause is set.
IDLE: Final[dict[str, None]] = {
    "lease_holder": None,
    "lease_until": None,
    "refresh_sent_at": None,
    "refresh_not_before": None,
}


def load(alias: str, pk: Any) -> Connection:
    """Return the current row. Raises GrantGone if it was deleted, its grant ended, or another provider or client issued it."""
    row: Connection | None = clock.read(Connection.objects.using(alias).filter(pk=pk))
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


def claim(alias: str, row: Connection, holder: uuid.UUID) -> bool:
    """Take the lease and record that a refresh is being sent. Return False if another caller has it.

    The write is committed when this returns. Raises RefreshRefused if a transaction has locked the row.
    """
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
            return bool(mine.update(lease_holder=holder, lease_until=until, refresh_sent_at=clock.now(row)))
    except OperationalError:
        raise RefreshRefused(
            f"The row of connection {row.pk} is locked by a transaction, perhaps the caller's own, so a new token could not be "
            "kept. Nothing was spent. Ask for the access token before changing or locking the connection."
        ) from None


def _as_spent(alias: str, row: Connection) -> QuerySet[Connection]:
    """Return the row as a queryset, empty once it has another pair of tokens than `row` was read with."""
    return Connection.objects.using(alias).filter(pk=row.pk, generation=row.generation)


def _as_read(row: Connection, name: str) -> dict[str, Any]:
    value = getattr(row, name)
    return {f"{name}__isnull": True} if value is None else {name: value}


def store(alias: str, row: Connection, tokens: Tokens, *, keep_alive: bool) -> Connection | None:
    """Commit the new pair, in place of the spent one alone, even if the lease was lost. Return a copy of `row` with it.

    Returns None, and queues the new tokens for revocation, if the connection was replaced or deleted meanwhile.
    """
    meta = Connection._meta
    values: dict[str, Any] = {
        "access_token": meta.get_field("access_token").seal(tokens.access_token, row),
        "access_token_expires_at": tokens.expires_at,
        "generation": row.generation + 1,
        **IDLE,
    }
    if tokens.refresh_token is not None:  # absent: the old one stays good (docs/provider.md#token)
        values["refresh_token"] = meta.get_field("refresh_token").seal(tokens.refresh_token, row)
        values["refresh_token_expires_at"] = tokens.asked_at + conf.EPROSPERA_REFRESH_TOKEN_LIFETIME
    if tokens.scope is not None:
        values["scope"] = tokens.scope
    if not keep_alive:
        values["used_at"] = tokens.asked_at
    rows = _as_spent(alias, row).filter(state=Connection.State.ACTIVE)
    updated = _insist(alias, lambda: rows.update(**values))
    spool.drop(row)
    if not updated:
        # The connection was replaced by a sign-in, or disconnected, while we asked: what came back is to end with it.
        replaced = Connection.objects.using(alias).filter(pk=row.pk).exists()
        queue_tokens(
            alias, row, refresh_token=tokens.refresh_token, access_token=tokens.access_token, replaced=replaced
        )
        return None
    logger.info("connection %s: refreshed, generation %d", row.pk, row.generation + 1)
    renewed = copy(row)
    renewed.__dict__.update(values)
    # In plain text: what was sealed for the row just now need not be opened.
    renewed.access_token = tokens.access_token
    if tokens.refresh_token is not None:
        renewed.refresh_token = tokens.refresh_token
    return renewed


def _insist(alias: str, write: Any) -> int:
    """Retry a write for as long as the lease lasts: the new token exists nowhere else. Raises the last database error."""
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


def release(alias: str, row: Connection, holder: uuid.UUID, error: ApiError, *, sent: bool) -> RefreshPaused:
    """Release the lease and set a pause; `sent` means that the refresh token may be spent. Return the error to raise."""
    now = clock.now(row)
    paused = _paused(row, error, now)
    noted = {"refresh_sent_at": now if sent else None, "refresh_not_before": paused.retry_at}
    Connection.objects.using(alias).filter(pk=row.pk, lease_holder=holder).update(**{**IDLE, **noted})
    return paused


def pause(alias: str, row: Connection, error: ApiError) -> RefreshPaused:
    """Set a pause without holding the lease. Return the error to raise."""
    paused = _paused(row, error, clock.now(row))
    _as_spent(alias, row).update(refresh_not_before=paused.retry_at)
    return paused


def _paused(row: Connection, error: ApiError, now: datetime) -> RefreshPaused:
    retry_at = now + max(conf.EPROSPERA_REFRESH_PAUSE, timedelta(seconds=min(error.retry_after or 0.0, 3_600.0)))
    logger.warning("connection %s: not refreshed: %s", row.pk, error)
    return RefreshPaused(
        f"e-Próspera did not renew connection {row.pk}: {error} It is asked again later.", retry_at, error
    )


def hand_out(alias: str, row: Connection, expires: datetime) -> Connection:
    """Allow the access token that was withheld in `row` to be used until `expires`. Return the current row."""
    _as_spent(alias, row).update(access_token_expires_at=expires)
    return load(alias, row.pk)


def give_up(alias: str, row: Connection, cause: Connection.Cause) -> None:
    """Mark the connection `reauthorize`, unless its grant was replaced meanwhile. `load` then raises GrantGone."""
    rows = _as_spent(alias, row).filter(state=Connection.State.ACTIVE)
    changed = rows.update(
        state=Connection.State.REAUTHORIZE,
        state_cause=cause,
        state_changed_at=clock.now(row),
        access_token=None,
        access_token_expires_at=None,
        refresh_token=None,
        refresh_token_expires_at=None,
        **IDLE,
    )
    if changed:
        logger.warning("connection %s: the grant is gone: %s", row.pk, cause)
        for receiver, failure in grant_lost.send_robust(
            Connection, connection=Connection.objects.using(alias).get(pk=row.pk), cause=str(cause)
        ):
            if isinstance(failure, Exception):
                logger.error("receiver %r of grant_lost failed: %s", receiver, type(failure).__name__)
