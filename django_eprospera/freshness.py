"""How fresh is what is cached of a connection, and why is it not fresher? Reads and words only: it asks nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_eprospera import scopes
from django_eprospera.conf import conf
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
    from django.utils.functional import _StrPromise

__all__ = [
    "ENDED",
    "NOT_GRANTED",
    "SCOPES",
    "Freshness",
    "claim",
    "due",
    "failure_code",
    "freshness",
    "has_ended",
    "is_granted",
    "is_on_its_way",
]

_RESOURCE = ResourceState.Resource

# Which scope opens which resource (contract section 8).
SCOPES: Final[dict[str, str]] = {
    _RESOURCE.NATURAL_PERSON: scopes.PERSON_DETAILS_READ,
    _RESOURCE.RESIDENCY: scopes.PERSON_RESIDENCY_READ,
    _RESOURCE.ID_VERIFICATION: scopes.PERSON_ID_VERIFICATION_READ,
    _RESOURCE.LEGAL_ENTITIES: scopes.ENTITY_READ,
    _RESOURCE.ENTITY_DOCUMENTS: scopes.ENTITY_DOCUMENTS_READ,
}

# Causes of `reauthorize` that mean: consent is gone.
ENDED: Final = (Connection.Cause.INVALID_GRANT, Connection.Cause.OTHER_SUBJECT)

# The code of a resource whose scope is gone; `attempted_at` is then when that was noticed.
NOT_GRANTED: Final = "not_granted"

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

_ASK_AGAIN: Final = _("Sign in with e-Próspera again to renew it.")
_LATER: Final = _("It is asked for again by itself.")
_SITE: Final = _("This site has to mend it; nothing is wrong with your account.")
_WHY: Final[dict[str, tuple[_StrPromise, _StrPromise]]] = {
    "scope_missing": (
        _("You did not allow this site to see it."),
        _("Sign in again and allow it, if you want to share it."),
    ),
    "not_granted": (
        _("You did not allow this site to see it."),
        _("Sign in again and allow it, if you want to share it."),
    ),
    "token_rejected": (_("e-Próspera no longer accepts this site's access."), _ASK_AGAIN),
    "grant_gone": (_("This site's access to your e-Próspera account has ended."), _ASK_AGAIN),
    "not_found": (_("e-Próspera does not have it, or it is no longer shared."), _LATER),
    "rate_limited": (_("e-Próspera is receiving too many requests."), _LATER),
    "unavailable": (_("e-Próspera did not answer."), _LATER),
    "malformed": (_("e-Próspera gave an answer that this site does not understand."), _LATER),
    "busy": (_("Access is being renewed right now."), _LATER),
    "paused": (_("Access could not be renewed for the moment."), _LATER),
    "refused": (_("Access could not be renewed for the moment."), _LATER),
    "files": (_("Some of its files could not be fetched."), _LATER),
    "failed": (_("It could not be renewed."), _SITE),
    "client_rejected": (_("e-Próspera does not accept this site's own credentials."), _SITE),
    "misconfigured": (_("A setting of this site is missing or wrong."), _SITE),
    "does_not_open": (_("What was kept before does not open, and was left as it is."), _SITE),
    "other_provider": (_("It belongs to another e-Próspera environment than the one this site uses now."), _ASK_AGAIN),
}
_FRESH: Final = _("Up to date.")
_NEVER: Final = _("On its way.")
_OLD: Final = _("Older than it should be.")


@dataclass(frozen=True, slots=True)
class Freshness:
    """How one resource stands: `reason` says why, in a sentence for the person; `remedy` what happens or can be done next."""

    resource: str
    label: _StrPromise
    granted: bool
    synced_at: datetime | None
    attempted_at: datetime | None
    stale: bool
    error: str
    reason: _StrPromise
    remedy: _StrPromise | str

    @property
    def message(self) -> str:
        """Reason and remedy, as one text."""
        return f"{self.reason} {self.remedy}".strip()


def is_granted(connection: Connection, resource: str) -> bool:
    """Whether the person lets the site use the resource now. Cached facts of any other are not to be used.

    A scope that is no longer granted withdraws it, and so does a grant that the provider ended. A grant that merely needs a
    new sign-in, because an answer was lost or no lasting access was given, does not.
    """
    return SCOPES[resource] in connection.scopes and not has_ended(connection)


def has_ended(connection: Connection) -> bool:
    """Whether the provider said that the grant is over, or not this person's."""
    return connection.state != Connection.State.ACTIVE and connection.state_cause in ENDED


def freshness(connection: Connection) -> list[Freshness]:
    """How every resource of the connection stands, in the order of the enumeration, granted or not."""
    states = {state.resource: state for state in connection.resources.all()}
    return [_one(connection, resource, states.get(resource)) for resource in _RESOURCE]


def _one(connection: Connection, resource: ResourceState.Resource, state: ResourceState | None) -> Freshness:
    granted = is_granted(connection, resource)
    synced_at = state.synced_at if state else None
    attempted_at = state.attempted_at if state else None
    error = state.error if state else ""
    if not granted:
        error = "grant_gone" if has_ended(connection) else NOT_GRANTED
    old = synced_at is None or synced_at < timezone.now() - conf.EPROSPERA_STALE_AFTER
    remedy: _StrPromise | str
    if error:
        reason, remedy = _WHY.get(error, _WHY["failed"])
    elif attempted_at is None:
        reason, remedy = _NEVER, ""
    elif old:
        reason, remedy = _OLD, _LATER
    else:
        reason, remedy = _FRESH, ""
    return Freshness(
        resource, resource.label, granted, synced_at, attempted_at, old or bool(error), error, reason, remedy
    )


def is_on_its_way(connection: Connection) -> bool:
    """Whether a sync was asked for and has not finished with every granted resource yet."""
    asked = connection.sync_requested_at
    if asked is None or asked < timezone.now() - _SOON:
        return False
    done = set(connection.resources.filter(attempted_at__gte=asked).values_list("resource", flat=True))
    return any(resource not in done for resource in SCOPES if is_granted(connection, resource))


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
