"""Revocation of tokens at the provider (RFC 7009). A token stays in a table until the provider has confirmed it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import router, transaction
from django.db.models import Case, Q, Value, When
from django.utils.translation import gettext as _

from django_eprospera import pace
from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, ConfigurationError, SealedValueError
from django_eprospera.models import PendingRevocation
from django_eprospera.provider import configured
from django_eprospera.provider.http import Retries
from django_eprospera.signals import revocation_pending
from django_eprospera.tokens import clock

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_eprospera.models import Connection
    from django_eprospera.provider.client import Client

__all__ = [
    "Remaining", "client_until", "queue_revocation", "queue_tokens", "remaining", "revoke_each", "revoke_pending",
]  # fmt: skip

logger = logging.getLogger("django_eprospera.tokens")

_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=12)
_SHORTEST: Final = 0.1
# Of each kind of rows, so many are counted exactly.
_COUNTED: Final = 1_000


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
    rows = PendingRevocation.objects.using(alias).filter(issuer=connection.issuer, sub=connection.sub)
    rows.update(held=False, not_before=clock.in_database())


def queue_tokens(
    alias: str,
    connection: Connection,
    *,
    refresh_token: str | None = None,
    access_token: str | None = None,
    replaced: bool = False,
) -> None:
    """Note tokens that belong to the connection's client for revocation; the refresh token goes first.

    `replaced` says that they belong to a grant that a newer sign-in replaced. Whether the provider would end the new one with
    it is not published (docs/provider.md#not-confirmed): they are held until the connection ends, unless
    EPROSPERA_REPLACED_GRANTS is 0.
    """
    held = replaced and conf.EPROSPERA_REPLACED_GRANTS > 0
    not_before = clock.in_database(conf.EPROSPERA_REFRESH_TOKEN_LIFETIME if held else timedelta(0))
    rows = [
        PendingRevocation(
            issuer=connection.issuer,
            client_id=connection.client_id,
            sub=connection.sub,
            token=token,
            hint=hint,
            held=held,
            not_before=not_before,
        )
        for hint, token in (("refresh_token", refresh_token), ("access_token", access_token))
        if token
    ]
    if rows:
        PendingRevocation.objects.using(alias).bulk_create(rows)
    if rows and not held:
        transaction.on_commit(lambda: revocation_pending.send(PendingRevocation), using=alias)


@dataclass(frozen=True, slots=True)
class Remaining:
    """Numbers of tokens that are not revoked yet. As text: the sentence of the admin and of `eprospera_keep_alive`."""

    due: int
    later: int
    held: int
    foreign: int

    def __str__(self) -> str:
        return _(
            "Not revoked yet: %(due)s due now, %(later)s tried again later, %(held)s held until their connection ends, "
            "%(foreign)s of another provider or client."
        ) % {name: f"> {_COUNTED}" if number > _COUNTED else number for name, number in asdict(self).items()}


def remaining() -> Remaining:
    """Return how many tokens are due, tried again later, held, and of another provider or client than the settings name.

    Counts at most 1,001 that are held and 1,001 others, so that the page of the admin stays cheap.
    """
    rows = PendingRevocation.objects.order_by("created_at", "id")
    own, due = Q(issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id), Q(not_before__lte=clock.in_database())
    kind = Case(When(~own, then=Value("foreign")), When(due, then=Value("due")), default=Value("later"))
    found = Counter(rows.filter(held=False).values_list(kind, flat=True)[: _COUNTED + 1])
    return Remaining(found["due"], found["later"], rows.filter(held=True)[: _COUNTED + 1].count(), found["foreign"])


def revoke_pending(limit: int = 100, *, seconds: float | None = None) -> tuple[int, int]:
    """Revoke up to `limit` tokens that are due. Returns how many are done and how many are left, due or tried again later.

    Takes at most `seconds` (EPROSPERA_DEADLINE). A failure costs nothing but a pause, which doubles from a minute to twelve
    hours; a token that has outlived every refresh token is dropped.
    """
    end = time.monotonic() + (conf.EPROSPERA_DEADLINE if seconds is None else seconds)
    rows = PendingRevocation.objects.all()
    rows.filter(held=False, created_at__lt=clock.in_database(-conf.EPROSPERA_REFRESH_TOKEN_LIFETIME)).delete()
    rows.filter(held=True, not_before__lte=clock.in_database()).delete()
    due = rows.filter(
        held=False, not_before__lte=clock.in_database(), issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id
    )
    done = revoke_each(due.order_by("created_at", "-hint")[:limit], end)
    left = remaining()
    return done, left.due + left.later


def revoke_each(rows: QuerySet[PendingRevocation], end: float) -> int:
    """Revoke the tokens of these rows until `end`, a time of `time.monotonic`, or a pause. Returns how many are done."""
    done = 0
    for row in rows:
        if time.monotonic() >= end:
            break
        try:
            turn = pace.turn(until=end)
        except pace.SitePaused:
            break
        done += _revoke(row, end, turn)
    return done


def client_until(end: float) -> Client:
    """Return a client whose exchanges end by `end`, a time of `time.monotonic`. Raises ConfigurationError."""
    left = max(end - time.monotonic(), _SHORTEST)
    return configured.client(deadline=min(left, conf.EPROSPERA_DEADLINE), retries=Retries(patient=False))


def _revoke(row: PendingRevocation, end: float, turn: pace.Turn) -> bool:
    pause = min(_FIRST_PAUSE * 2 ** min(row.attempts, 10), _LONGEST_PAUSE)
    mine = PendingRevocation.objects.filter(pk=row.pk, not_before=row.not_before)
    # Postponing it is also what claims it: another worker finds another time in the row.
    try:
        with turn.noting(row.pk) as outcomes:
            if not mine.update(not_before=clock.in_database(pause), attempts=row.attempts + 1):
                return False
            client_until(end).revoke(row.token, row.hint)
            outcomes.append(row.pk)
    except (ApiError, ConfigurationError, SealedValueError) as error:
        logger.warning("revocation %s failed, tried again in %s: %s", row.pk, pause, error)
        return False
    row.delete()
    return True
