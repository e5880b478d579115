"""Renewal of unused grants before their refresh token expires, if `EPROSPERA_KEEP_ALIVE` is set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import router

from django_eprospera import pace
from django_eprospera.conf import conf
from django_eprospera.errors import EprosperaError, GrantGone
from django_eprospera.models import Connection
from django_eprospera.tokens import clock, durable
from django_eprospera.tokens.renewal import renew

__all__ = ["KeptAlive", "keep_alive"]


@dataclass(frozen=True, slots=True)
class KeptAlive:
    """How many connections were renewed, found gone, or failed for now."""

    renewed: int
    gone: int
    failed: int


def keep_alive(limit: int = 100) -> KeptAlive:
    """Renew up to `limit` connections whose refresh token ends within EPROSPERA_KEEP_ALIVE, those first that end first.

    Does nothing where the setting is None. A connection that fails does not stop the others; when the site pauses (see `pace`),
    the rest is left to the next call.
    """
    window = conf.EPROSPERA_KEEP_ALIVE
    if window is None:
        return KeptAlive(0, 0, 0)
    alias = router.db_for_write(Connection)
    ending = Connection.objects.using(alias).filter(
        state=Connection.State.ACTIVE,
        refresh_token_expires_at__lte=clock.in_database(window),
        client_id=conf.client_id,
        issuer=conf.EPROSPERA_BASE_URL,
    )
    renewed = gone = failed = 0
    for pk in ending.order_by("refresh_token_expires_at").values_list("pk", flat=True)[:limit]:
        try:
            turn = pace.turn()
        except pace.SitePaused:
            break
        try:
            with turn.noting(pk) as outcomes:
                outcomes.append(durable.run(alias, partial(renew, alias, pk, keep_alive=True, patient=False)))
        except GrantGone:
            gone += 1
        except EprosperaError:
            failed += 1
        else:
            renewed += 1
    return KeptAlive(renewed, gone, failed)
