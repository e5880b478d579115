"""When each connection is synced next, the claim on one, and the code that is kept of a failure.

`Connection.next_sync_at` decides. A claim moves it ahead by a pause that doubles with every claim, so that of several
schedulers one syncs the connection, and a sync that dies is repeated. The end of a sync sets it to when the first answer gets
too old.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Case, DateTimeField, F, Q, Value, When
from django.db.models.functions import Least
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
from django_eprospera.models import Connection

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from django.db.models import QuerySet

    from django_eprospera.models import ResourceState

__all__ = ["claim", "claim_due", "due", "failure_code", "finish", "next_sync", "old_resources", "passes", "postpone"]

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
# Requested again after a pause, because they pass by themselves, or because nothing is stored yet. After another failure a
# stored answer waits until it would be too old anyhow.
_PASSING: Final = frozenset(
    {"unavailable", "malformed", "rate_limited", "busy", "paused", "refused", "files", NOT_GRANTED, UNFINISHED}
)
_FIRST_PAUSE: Final = timedelta(minutes=1)
_DOUBLINGS: Final = 10  # the longest pause is 17 hours
# The part of an answer's age, at random, by which it is requested early. What gets old a little later is requested with it.
_JITTER: Final = 0.1
_MOMENT: Final = DateTimeField()


def failure_code(error: Exception) -> str:
    """The short stable code that is kept of a failure."""
    if isinstance(error, ApiError) and error.status == 429:
        return "rate_limited"
    if isinstance(error, GrantGone) and error.cause == "other_provider":
        return error.cause
    return next((code for kind, code in _CODES if isinstance(error, kind)), "failed")


def passes(code: str) -> bool:
    """Return whether a failure of that code passes by itself."""
    return code in _PASSING


def due(now: datetime) -> QuerySet[Connection]:
    """Return the connections to sync by now, those first that wait longest.

    Only those of the settings' provider and client whose grant is active.
    """
    return Connection.objects.filter(
        next_sync_at__lte=now,
        state=Connection.State.ACTIVE,
        issuer=conf.EPROSPERA_BASE_URL,
        client_id=conf.client_id,
    ).order_by("next_sync_at")


def claim_due(connection_id: uuid.UUID) -> bool:
    """Claim a connection that is due. Returns False if another process claimed it first."""
    now = timezone.now()
    return _claim(Q(pk=connection_id, next_sync_at__lte=now), now)


def claim(connection_id: uuid.UUID, *, pause: timedelta = _FIRST_PAUSE) -> bool:
    """Claim a connection for a sync now. Returns False if one was requested within `pause`."""
    now = timezone.now()
    free = Q(sync_requested_at__isnull=True) | Q(sync_requested_at__lt=now - pause)
    return _claim(free & Q(pk=connection_id), now)


def _claim(which: Q, now: datetime) -> bool:
    pauses = [When(sync_attempts=n, then=Value(now + _FIRST_PAUSE * 2**n)) for n in range(_DOUBLINGS)]
    return bool(
        Connection.objects.filter(which).update(
            sync_requested_at=now,
            sync_attempts=Least(F("sync_attempts") + 1, _DOUBLINGS),
            next_sync_at=Case(*pauses, default=Value(now + _FIRST_PAUSE * 2**_DOUBLINGS), output_field=_MOMENT),
        )
    )


def postpone(connection: Connection, seconds: float) -> None:
    """Give a claim back because the site pauses for `seconds`: the connection is due soon after that."""
    moment = timezone.now() + timedelta(seconds=seconds + random.uniform(0, 30))  # noqa: S311 - spreads load
    Connection.objects.filter(pk=connection.pk, sync_attempts=connection.sync_attempts).update(
        next_sync_at=moment, sync_attempts=max(connection.sync_attempts - 1, 0)
    )


def finish(connection: Connection, states: Iterable[ResourceState], error: str) -> None:
    """Store when the connection is synced next, and the error of its receivers.

    `connection` is the row as it was when the sync began. The plan of a sign-in since then stays.
    """
    plan, again = next_sync(connection, states, timezone.now())
    row = Connection.objects.filter(pk=connection.pk)
    attempts = max(connection.sync_attempts, 1) if again else 0
    if not row.filter(signed_in_at=connection.signed_in_at).update(
        sync_error=error, sync_attempts=attempts, next_sync_at=plan
    ):
        row.update(sync_error=error)


def next_sync(connection: Connection, states: Iterable[ResourceState], now: datetime) -> tuple[datetime | None, bool]:
    """Return when to sync next, and whether that repeats a request that failed. None: there is nothing to request."""
    by_resource = {state.resource: state for state in states}
    granted = [resource for resource, scope in SCOPES.items() if scope in connection.scopes]
    again = any(_failed(by_resource.get(resource)) for resource in granted)
    moments = [
        _old_at(resource, state)
        for resource in granted
        if (state := by_resource.get(resource)) is not None and not _failed(state)
    ]
    if again:
        moments.append(now + _FIRST_PAUSE * 2 ** max(min(connection.sync_attempts, _DOUBLINGS) - 1, 0))
    if not moments:
        return None, False
    return min(moments), again


def old_resources(connection: Connection, states: Iterable[ResourceState], now: datetime) -> list[str]:
    """Return the granted resources to request now: without a good answer, failed for a passing reason, or soon too old."""
    by_resource = {state.resource: state for state in states}
    return [
        resource
        for resource, scope in SCOPES.items()
        if scope in connection.scopes
        and (
            _failed(state := by_resource.get(resource))
            or (state is not None and _old_at(resource, state, early=2 * _JITTER) <= now)
        )
    ]


def _failed(state: ResourceState | None) -> bool:
    if state is None or state.synced_at is None:
        return True
    return state.error in _PASSING or not (state.error or state.digest)


def _old_at(resource: str, state: ResourceState, early: float | None = None) -> datetime:
    """Return when the stored answer is requested again. After a failure that does not pass, the attempt counts."""
    early = random.uniform(0, _JITTER) if early is None else early  # noqa: S311 - spreads load, keeps no secret
    since = max(filter(None, (state.synced_at, state.attempted_at)))
    return since + conf.stale_after(resource) * (1 - early)
