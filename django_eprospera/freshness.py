"""Age of each cached resource of a connection, and the reason if it is stale. Sends no request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_eprospera.conf import conf
from django_eprospera.consent import NOT_GRANTED, SCOPES, UNFINISHED, has_ended, is_current, is_granted
from django_eprospera.models import ResourceState

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.functional import _StrPromise

    from django_eprospera.models import Connection

__all__ = ["Freshness", "freshness", "is_on_its_way"]

_RESOURCE = ResourceState.Resource

# A sync that was requested longer ago than this is not running any more.
_RUNNING: Final = timedelta(minutes=15)

_ASK_AGAIN: Final = _("Sign in with e-Próspera again to renew it.")
_LATER: Final = _("The site tries again automatically.")
_NEVER: Final = _("Being fetched.")
_SITE: Final = _("This is an error of the site. Your account is in order.")
_WHY: Final[dict[str, tuple[_StrPromise, _StrPromise | str]]] = {
    "scope_missing": (
        _("This site is not allowed to see it."),
        _("Sign in again and allow it, if you want to share it."),
    ),
    "not_granted": (
        _("This site is not allowed to see it."),
        _("Sign in again and allow it, if you want to share it."),
    ),
    "token_rejected": (_("e-Próspera no longer accepts this site's access."), _ASK_AGAIN),
    "grant_gone": (_("This site's access to the e-Próspera account has ended."), _ASK_AGAIN),
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
    "does_not_open": (_("The stored data cannot be decrypted. It was not changed."), _SITE),
    UNFINISHED: (_NEVER, ""),
    "other_provider": (_("It belongs to another e-Próspera environment than the one this site uses now."), _ASK_AGAIN),
}
_FRESH: Final = _("Up to date.")
_OLD: Final = _("Older than it should be.")


@dataclass(frozen=True, slots=True)
class Freshness:
    """Freshness of one resource. `reason` is a sentence for anybody, `remedy` tells the user what happens next."""

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
        """Reason and remedy in one text."""
        return f"{self.reason} {self.remedy}".strip()


def freshness(connection: Connection) -> list[Freshness]:
    """Return the freshness of every resource, granted or not, in the order of `ResourceState.Resource`."""
    states = {state.resource: state for state in connection.resources.all()}
    return [_one(connection, resource, states.get(resource)) for resource in _RESOURCE]


def _one(connection: Connection, resource: ResourceState.Resource, state: ResourceState | None) -> Freshness:
    granted = is_granted(connection, resource)
    synced_at = state.synced_at if state else None
    attempted_at = state.attempted_at if state else None
    error = state.error if state else ""
    if not is_current(connection):
        error = "other_provider"
    elif not granted:
        error = "grant_gone" if has_ended(connection) else NOT_GRANTED
    old = synced_at is None or synced_at < timezone.now() - conf.stale_after(resource)
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


def reason_of(code: str) -> _StrPromise:
    """Return the sentence about the code of a failure."""
    return _WHY.get(code, _WHY["failed"])[0]


def is_error_of_site(code: str) -> bool:
    """Return whether the code of a failure says that somebody has to correct something at this site."""
    return _WHY.get(code, _WHY["failed"])[1] is _SITE


def is_on_its_way(connection: Connection) -> bool:
    """Return whether a sync was requested in the last 15 minutes and has not attempted every granted resource yet."""
    asked = connection.sync_requested_at
    if asked is None or asked < timezone.now() - _RUNNING:
        return False
    done = set(connection.resources.filter(attempted_at__gte=asked).values_list("resource", flat=True))
    return any(resource not in done for resource in SCOPES if is_granted(connection, resource))
