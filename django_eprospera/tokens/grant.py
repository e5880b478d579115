"""Create a connection from a verified sign-in, renew it, and end it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction
from django.db.models import F, Q
from django.utils import timezone

from django_eprospera.audit import record
from django_eprospera.audit.rows import subject_of
from django_eprospera.conf import conf
from django_eprospera.errors import OtherSubject, SealedValueError
from django_eprospera.models import (
    AuditEntry,
    Connection,
    EntityConsent,
    IdVerification,
    NaturalPerson,
    PendingRevocation,
    Residency,
    ResourceState,
)
from django_eprospera.signals import connection_ended, revocation_pending, signed_in
from django_eprospera.tokens.lease import IDLE
from django_eprospera.tokens.replaced import held_by
from django_eprospera.tokens.revocation import queue_revocation, queue_tokens

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

    from django_eprospera.provider.grants import Tokens

__all__ = ["clear", "disconnect", "store_sign_in"]

# The sync of a sign-in that nobody did is due after so long.
_SYNC_PAUSE: Final = timedelta(minutes=1)
# What a later sign-in finds as it is.
_SAME: Final = frozenset({"id", "user", "issuer", "sub", "created_at"})


def store_sign_in(
    *,
    user: User,
    issuer: str,
    sub: str,
    tokens: Tokens,
    auth_time: datetime | None,
    now: datetime,
) -> Connection:
    """Keep the grant of a verified sign-in as the user's connection, in the caller's transaction. `now` is the database's time.

    A new grant replaces the old one whatever state that was in, so a sign-in heals `reauthorize`. The facts that another
    client was given are erased. Sends `signed_in` after the commit, with the connection claimed for the sync that its receiver
    enqueues (should that be lost, the sync is due a minute later), and `revocation_pending` if too many replaced grants are
    held by now. An error must end the transaction: there is no savepoint. Raises OtherSubject when the user is connected as
    somebody else, or the person as another user.
    """
    alias = router.db_for_write(Connection)
    with transaction.atomic(using=alias, savepoint=False):
        rows = Connection.objects.using(alias).select_for_update().annotate(held=held_by(sub))
        found = list(rows.filter(Q(user=user) | Q(issuer=issuer, sub=sub)))
        if any(row.user_id != user.pk for row in found):
            raise OtherSubject("This e-Próspera account is already connected with another user of this site.")
        if any((row.issuer, row.sub) != (issuer, sub) for row in found):
            raise OtherSubject("You are already connected with another e-Próspera account. Disconnect that one first.")
        connection = found[0] if found else Connection(user=user, issuer=issuer, sub=sub)
        if found:
            # The grant that this one replaces ends with the connection, at the latest.
            token = _opened(connection)
            queue_tokens(alias, connection, refresh_token=token, replaced=True)
            if token and 0 < conf.EPROSPERA_REPLACED_GRANTS <= found[0].held:
                transaction.on_commit(
                    lambda: revocation_pending.send(PendingRevocation, connection=connection), using=alias
                )
            if connection.client_id != conf.client_id:
                # What another client was given has to be given to this one anew.
                _erase_facts(alias, connection)
        connection.client_id = conf.client_id
        connection.scope = tokens.scope or ""
        connection.auth_time = auth_time
        connection.signed_in_at = connection.used_at = now
        connection.sync_requested_at, connection.next_sync_at, connection.sync_attempts = now, now + _SYNC_PAUSE, 1
        _take(connection, tokens, now)
        is_new = connection._state.adding
        # The tokens' too: this is one of the two places that write them.
        names = (
            None if is_new else [field.name for field in connection._meta.concrete_fields if field.name not in _SAME]
        )
        connection.save(using=alias, update_fields=names)
        transaction.on_commit(lambda: signed_in.send(Connection, connection=connection, is_new=is_new), using=alias)
    return connection


def _erase_facts(alias: str, connection: Connection) -> None:
    """Erase what was fetched with the grant. Decisions and the audit chain stay."""
    for model in (NaturalPerson, Residency, IdVerification, EntityConsent, ResourceState):
        model.objects.using(alias).filter(connection=connection).delete()


def _opened(connection: Connection) -> str | None:
    try:
        token: str | None = connection.refresh_token
    except SealedValueError:
        return None  # it cannot be revoked, and must not prevent the sign-in
    return token


def _take(connection: Connection, tokens: Tokens, now: datetime) -> None:
    values: dict[str, Any] = {
        "access_token": tokens.access_token,
        "access_token_expires_at": tokens.expires_at + (now - timezone.now()),
        "refresh_token": tokens.refresh_token,
        "refresh_token_expires_at": now + conf.EPROSPERA_REFRESH_TOKEN_LIFETIME if tokens.refresh_token else None,
        # A refresh of the old grant that is under way finds another generation and writes nothing.
        "generation": connection.generation + 1,
        "state": Connection.State.ACTIVE,
        "state_cause": Connection.Cause.NONE,
        "state_changed_at": now,
        **IDLE,
    }
    for name, value in values.items():
        setattr(connection, name, value)


def clear(connection: Connection) -> None:
    """Queue the tokens of a connection for revocation, and erase its facts, in the transaction that is about to delete it.

    Django lists what it deletes along with a user before its transaction begins, so that a sync may have added rows since. From
    now on, until the connection is gone, a sync waits.
    """
    alias = router.db_for_write(Connection, instance=connection)
    _lock(alias, connection)
    queue_revocation(connection)
    _erase_facts(alias, connection)


def _lock(alias: str, connection: Connection) -> None:
    """Hold the row until the transaction ends. Each transaction of a sync begins with the same lock."""
    Connection.objects.using(alias).filter(pk=connection.pk).update(used_at=F("used_at"))


def disconnect(connection: Connection, *, actor: User | None = None) -> None:
    """End the connection: erase it with all cached facts and files, and have its tokens revoked at the provider.

    The erasure does not wait for the provider; the revocation is kept until the provider has confirmed it (the receiver of
    `pre_delete` queues it, so that deleting a user does the same). Sends `connection_ended` after the commit.
    """
    alias = router.db_for_write(Connection, instance=connection)
    with transaction.atomic(using=alias):
        _lock(alias, connection)
        user, subject = connection.user, subject_of(connection)
        connection.delete(using=alias)
        # Last: the lock of the audit chain is held until the end, and a sync takes it with the connection's row locked.
        record(AuditEntry.Action.DISCONNECTED, subject, actor=actor)
        transaction.on_commit(lambda: connection_ended.send(Connection, user=user, actor=actor), using=alias)
