"""Revocation of tokens at the provider (RFC 7009). A token stays in a table until the provider has confirmed it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import router, transaction

from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, ConfigurationError, SealedValueError
from django_eprospera.models import PendingRevocation
from django_eprospera.provider.configured import client
from django_eprospera.signals import revocation_pending
from django_eprospera.tokens import clock

if TYPE_CHECKING:
    from django_eprospera.models import Connection

__all__ = ["queue_revocation", "queue_tokens", "revoke_pending"]

logger = logging.getLogger("django_eprospera.tokens")

_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=12)


def queue_revocation(connection: Connection) -> None:
    """Note the connection's tokens for revocation, in the caller's transaction. A token that does not open is logged."""
    tokens: dict[str, str | None] = {}
    for name in ("refresh_token", "access_token"):
        try:
            tokens[name] = getattr(connection, name)
        except SealedValueError as error:
            logger.error("cannot be revoked: %s", error)  # noqa: TRY400 - the traceback adds nothing
    alias = router.db_for_write(PendingRevocation)
    queue_tokens(alias, connection, refresh_token=tokens.get("refresh_token"), access_token=tokens.get("access_token"))
    held = PendingRevocation.objects.using(alias).filter(issuer=connection.issuer, sub=connection.sub)
    held.update(not_before=clock.in_database())


def queue_tokens(
    alias: str,
    connection: Connection,
    *,
    refresh_token: str | None = None,
    access_token: str | None = None,
    hold: bool = False,
) -> None:
    """Note tokens that belong to the connection's client for revocation; the refresh token goes first.

    With `hold` they wait for the connection's end: they belong to a grant that a newer sign-in replaced, and whether the
    provider would end the new one with it is not published (docs/provider.md#not-confirmed).
    """
    not_before = clock.in_database(conf.EPROSPERA_REFRESH_TOKEN_LIFETIME if hold else timedelta(0))
    rows = [
        PendingRevocation(
            issuer=connection.issuer,
            client_id=connection.client_id,
            sub=connection.sub,
            token=token,
            hint=hint,
            not_before=not_before,
        )
        for hint, token in (("refresh_token", refresh_token), ("access_token", access_token))
        if token
    ]
    if rows:
        PendingRevocation.objects.using(alias).bulk_create(rows)
    if rows and not hold:
        transaction.on_commit(lambda: revocation_pending.send(PendingRevocation), using=alias)


def revoke_pending(limit: int = 100) -> tuple[int, int]:
    """Revoke up to `limit` tokens that are due. Returns how many are done and how many are left, due or tried again later.

    A failure costs nothing but a pause, which doubles from a minute to twelve hours; a token that has outlived every
    refresh token is dropped.
    """
    rows = PendingRevocation.objects.all()
    rows.filter(created_at__lt=clock.in_database(-conf.EPROSPERA_REFRESH_TOKEN_LIFETIME)).delete()
    due = rows.filter(not_before__lte=clock.in_database(), issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id)
    done = sum(_revoke(row) for row in due.order_by("created_at", "-hint")[:limit])
    return done, rows.filter(not_before__lte=clock.in_database(_LONGEST_PAUSE)).count()


def _revoke(row: PendingRevocation) -> bool:
    pause = min(_FIRST_PAUSE * 2 ** min(row.attempts, 10), _LONGEST_PAUSE)
    mine = PendingRevocation.objects.filter(pk=row.pk, not_before=row.not_before)
    # Postponing it is also what claims it: another worker finds another time in the row.
    if not mine.update(not_before=clock.in_database(pause), attempts=row.attempts + 1):
        return False
    try:
        client().revoke(row.token, row.hint)
    except (ApiError, ConfigurationError, SealedValueError) as error:
        logger.warning("revocation %s failed, tried again in %s: %s", row.pk, pause, error)
        return False
    row.delete()
    return True
