"""Revocation of grants that newer sign-ins replaced, beyond the number that EPROSPERA_REPLACED_GRANTS holds per connection.

They are held because the provider might end the current grant with them (docs/provider.md#not-confirmed).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from django.db import router
from django.db.models import Count, Subquery
from django.db.models.functions import Coalesce

from django_eprospera import pace
from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, ConfigurationError, SealedValueError
from django_eprospera.models import PendingRevocation
from django_eprospera.tokens import clock
from django_eprospera.tokens.revocation import client_until, revoke_each

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_eprospera.models import Connection

__all__ = ["held_by", "revoke_all_replaced", "revoke_replaced"]

logger = logging.getLogger("django_eprospera.tokens")

# Rows that one call looks at.
_MOST: Final = 100


def held_by(sub: str) -> Coalesce:
    """Return the expression for the number of replaced grants of a person that are held."""
    count = _held().filter(sub=sub).order_by().values("sub").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(count), 0)


def revoke_all_replaced(limit: int = 100, *, seconds: float | None = None) -> int:
    """Do what `revoke_replaced` does for up to `limit` connections, all in `seconds`. Returns the same for all of them."""
    end = time.monotonic() + (conf.EPROSPERA_DEADLINE if seconds is None else seconds)
    too_many = _held().values("sub").annotate(number=Count("pk")).filter(number__gt=conf.EPROSPERA_REPLACED_GRANTS)
    done = 0
    for sub in list(too_many.order_by("sub").values_list("sub", flat=True)[:limit]):
        if time.monotonic() >= end:
            break
        done += _revoke(sub, end)
    return done


def revoke_replaced(connection: Connection, *, seconds: float | None = None) -> int:
    """Revoke the oldest of the connection's replaced grants that are too many. Returns how many tokens are revoked or over.

    Those that are over, as the provider says, are forgotten first. Takes at most `seconds` (EPROSPERA_DEADLINE). What cannot
    be revoked in that time, or because the provider is unavailable, is left to `revoke_pending`.
    """
    return _revoke(connection.sub, time.monotonic() + (conf.EPROSPERA_DEADLINE if seconds is None else seconds))


def _held() -> QuerySet[PendingRevocation]:
    rows = PendingRevocation.objects.using(router.db_for_write(PendingRevocation))
    return rows.filter(held=True, issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id)


def _revoke(sub: str, end: float) -> int:
    held = _held().filter(sub=sub)
    too_many = min(held.count() - conf.EPROSPERA_REPLACED_GRANTS, _MOST)
    if too_many <= 0:
        return 0
    # By the database's clock, oldest first.
    rows = list(held.order_by("not_before", "pk")[:_MOST])
    over: list[PendingRevocation] = []
    good: list[PendingRevocation] = []
    for row in rows:
        if len(over) == too_many:
            break
        active = _is_active(row, end)
        if active is None:
            break
        (good if active else over).append(row)
    spare = [row for row in rows if row not in over][: too_many - len(over)]
    # One row at a time: a statement that locks several could deadlock with a disconnect.
    for row in over:
        held.filter(pk=row.pk).delete()
    for row in spare:
        held.filter(pk=row.pk).update(held=False, not_before=clock.in_database())
    done = revoke_each(PendingRevocation.objects.filter(pk__in=[row.pk for row in spare]).order_by("created_at"), end)
    if done and good and good[-1] not in spare:
        _warn_if_over(good[-1], end)
    return len(over) + done


def _is_active(row: PendingRevocation, end: float) -> bool | None:
    """Return what the provider says about a token; None if it cannot be asked."""
    if time.monotonic() >= end:
        return None
    try:
        turn = pace.turn(until=end)
    except pace.SitePaused:
        return None
    try:
        with turn.noting(row.pk) as outcomes:
            active = client_until(end).is_active(row.token, row.hint)
            outcomes.append(active)
            return active
    except (ApiError, ConfigurationError, SealedValueError) as error:
        logger.warning("revocation %s: whether the token is good is not known: %s", row.pk, error)
        return None


def _warn_if_over(row: PendingRevocation, end: float) -> None:
    """Log an error if a grant that was good before a revocation is over now, unless it was revoked itself meanwhile."""
    if _is_active(row, end) is False and _held().filter(pk=row.pk).exists():
        logger.error(
            "e-Próspera ended other grants of the same person when a replaced one was revoked. Set EPROSPERA_REPLACED_GRANTS "
            "to a number that nobody reaches: then none is revoked before the connection ends."
        )
