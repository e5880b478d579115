"""Which connections are due for a sync, the claim on one, and the code that is kept of a failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Exists, F, OuterRef, Q, Value
from django.utils import timezone

from django_eprospera.conf import conf
from django_eprospera.consent import NOT_GRANTED, SCOPES, UNFINISHED
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
# Requested again soon, because they pass by themselves. All others wait until the answer would be stale anyhow.
_PASSING: Final = ("unavailable", "malformed", "rate_limited", "busy", "paused", "refused", "files")
_SOON: Final = timedelta(minutes=15)
_FIRST_PAUSE: Final = timedelta(minutes=1)


def failure_code(error: Exception) -> str:
    """The short stable code that is kept of a failure."""
    if isinstance(error, ApiError) and error.status == 429:
        return "rate_limited"
    return next((code for kind, code in _CODES if isinstance(error, kind)), "failed")


def due(now: datetime) -> QuerySet[Connection]:
    """Connections to sync by now, those first that wait longest: without a good answer, stale, or failed for a while.

    Only those of the settings' provider and client whose grant is active and has a scope that opens data. A granted scope
    without a good answer (never requested, refused, or left by a sync that died) is due at once, then again after pauses that
    double: each is as long as the time between the last sign-in and the last sync.
    """
    states = ResourceState.objects.filter(connection=OuterRef("pk"))
    good = states.filter(synced_at__isnull=False).exclude(error__in=(NOT_GRANTED, UNFINISHED))
    missing = Q()
    for resource, scope in SCOPES.items():
        missing |= Q(scope__contains=scope) & ~Q(Exists(good.filter(resource=resource)))
    stale = now - conf.EPROSPERA_STALE_AFTER
    rested = Q(sync_requested_at__isnull=True) | Q(sync_requested_at__lt=now - _FIRST_PAUSE) & (
        Q(sync_requested_at__lt=stale) | Q(pause__lt=F("rest"))
    )
    old = states.exclude(error=NOT_GRANTED).filter(attempted_at__lt=stale)
    passing = states.filter(error__in=_PASSING, attempted_at__lt=now - _SOON)
    return (
        Connection.objects.alias(
            pause=F("sync_requested_at") - F("signed_in_at"), rest=Value(now) - F("sync_requested_at")
        )
        .filter(
            (missing & rested) | Q(Exists(old)) | Q(Exists(passing)),
            state=Connection.State.ACTIVE,
            issuer=conf.EPROSPERA_BASE_URL,
            client_id=conf.client_id,
            scope__contains="eprospera:",
        )
        .order_by(F("sync_requested_at").asc(nulls_first=True), "pk")
    )


def claim(connection_id: uuid.UUID, *, pause: timedelta = _FIRST_PAUSE) -> bool:
    """Note that a sync is asked for. False when one was asked for within `pause`: then somebody else sees to it."""
    now = timezone.now()
    free = Q(sync_requested_at__isnull=True) | Q(sync_requested_at__lt=now - pause)
    return bool(Connection.objects.filter(free, pk=connection_id).update(sync_requested_at=now))
