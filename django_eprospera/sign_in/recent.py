"""What a session remembers of when its user proved who they are: to e-Próspera (`auth_time`), and by whatever backend."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from django.contrib.auth import SESSION_KEY

from django_eprospera.conf import conf

if TYPE_CHECKING:
    from datetime import timedelta

    from django.http import HttpRequest

__all__ = ["has_recent_authentication", "has_recent_sign_in", "note_authentication", "note_sign_in"]

_AUTH_TIME: Final = "eprospera_auth_time"
_AUTHENTICATED_AT: Final = "eprospera_authenticated_at"


def note_sign_in(request: HttpRequest, auth_time: float | None) -> None:
    """Store in the session when the user authenticated at the provider; None, when it did not say, removes what was stored."""
    if auth_time is None:
        request.session.pop(_AUTH_TIME, None)
    else:
        request.session[_AUTH_TIME] = int(min(auth_time, time.time()))


def note_authentication(request: HttpRequest, auth_time: float | None = None) -> None:
    """Store in the session when its user authenticated: now, or at the provider's `auth_time`, if it said one.

    Single sign-on at the provider proves the sign-in there, which may be long ago.
    """
    now = time.time()
    request.session[_AUTHENTICATED_AT] = int(now if auth_time is None else min(auth_time, now))


def has_recent_sign_in(request: HttpRequest, max_age: timedelta | None = None) -> bool:
    """Return whether this session's sign-in at the provider is younger than `max_age` (EPROSPERA_RECENT_SIGN_IN)."""
    return _is_recent(request, _AUTH_TIME, time.time(), max_age or conf.EPROSPERA_RECENT_SIGN_IN)


def has_recent_authentication(request: HttpRequest, at: float | None = None) -> bool:
    """Return whether this session's own authentication was younger than EPROSPERA_RECENT_SIGN_IN (now, or at `at`).

    False for a session in which none was noted: one that began before this package was installed.
    """
    return _is_recent(request, _AUTHENTICATED_AT, time.time() if at is None else at, conf.EPROSPERA_RECENT_SIGN_IN)


def _is_recent(request: HttpRequest, name: str, at: float, max_age: timedelta) -> bool:
    noted = request.session.get(name)
    if not isinstance(noted, int) or isinstance(noted, bool) or not request.user.is_authenticated:
        return False
    # An API may know its user by a token that comes with another user's session.
    if request.session.get(SESSION_KEY) != request.user._meta.pk.value_to_string(request.user):
        return False
    return noted <= time.time() and at - noted < max_age.total_seconds()
