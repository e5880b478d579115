"""Which connections are due for a sync, the claim on one, and the code that is kept of a failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from django_eprospera.conf import conf
from django_eprospera.consent import NOT_GRANTED
from django_eprospera.errors import (
    ApiError,
    ClientRejected,
    ConfigurationError,
    GrantGone,
    MalformedAnswer,
    NotFound,
    ProviderUnavailable,
    RefreshBusy,
    RefreshPaused,
    RefreshRefused,
    ScopeMissing,
    SealedValueError,
    TokenRejected,
)
from django_eprospera.models import Connection, ResourceState

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from django.db.models import QuerySet

__all__ = ["claim", "due", "failure_code"]

# Kinds of failure, the special before the general, and the code that is kept of each.
_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ScopeMissing, "scope_missing"),
    (TokenRejected, "token_rejected"),
    (NotFound, "not_found"),
    (ClientRejected, "client_rejected"),
    (MalformedAnswer, "malformed"),
    (ProviderUnavailable, "unavailable"),
    (ApiError, "unavailable"),
    (RefreshBusy, "busy"),
    (RefreshPaused, "paused"),
    (RefreshRefused, "refused"),
    (GrantGone, "grant_gone"),
    (SealedValueError, "does_not_open"),
    (ConfigurationError, "misconfigured"),
)
# Asked again soon, because they pass by themselves. All others wait until the answer would be stale anyhow.
_PASSING: Final = ("unavailable", "malformed", "rate_limited", "busy", "paused", "refused", "files")
_SOON: Final = timedelta(minutes=15)


def failure_code(error: Exception) -> str:
    """The short stable code that is kept of a failure."""
    if isinstance(error, ApiError) and error.status == 429:
        return "rate_limited"
    return next((code for kind, code in _CODES if isinstance(error, kind)), "failed")


def due(now: datetime) -> QuerySet[Connection]:
    """Connections to sync by now: never synced, stale, or failed with something that passes by itself.

    Only those of the provider and client of the settings, whose grant is alive, and whom it is worth asking about.
    """
    states = ResourceState.objects.filter(connection=OuterRef("pk"))
    old = states.exclude(error=NOT_GRANTED).filter(attempted_at__lt=now - conf.EPROSPERA_STALE_AFTER)
    passing = states.filter(error__in=_PASSING, attempted_at__lt=now - _SOON)
    return Connection.objects.filter(
        Q(~Exists(states)) | Q(Exists(old)) | Q(Exists(passing)),
        state=Connection.State.ACTIVE,
        issuer=conf.EPROSPERA_BASE_URL,
        client_id=conf.client_id,
        scope__contains="eprospera:",
    ).order_by("sync_requested_at", "pk")


def claim(connection_id: uuid.UUID, *, pause: timedelta = timedelta(minutes=1)) -> bool:
    """Note that a sync is asked for. False when one was asked for within `pause`: then somebody else sees to it."""
    now = timezone.now()
    free = Q(sync_requested_at__isnull=True) | Q(sync_requested_at__lt=now - pause)
    return bool(Connection.objects.filter(free, pk=connection_id).update(sync_requested_at=now))
