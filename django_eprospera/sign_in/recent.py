"""When this session's user last proved to e-Próspera who they are: `auth_time`, which the provider signs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from django_eprospera.conf import conf

if TYPE_CHECKING:
    from datetime import timedelta

    from django.http import HttpRequest

__all__ = ["has_recent_sign_in", "note_sign_in"]

_SESSION_KEY: Final = "eprospera_auth_time"


def note_sign_in(request: HttpRequest, auth_time: float | None) -> None:
    """Keep in the session when the person proved to the provider who they are; None: it did not say, so forget it."""
    if auth_time is None:
        request.session.pop(_SESSION_KEY, None)
    else:
        request.session[_SESSION_KEY] = int(min(auth_time, time.time()))


def has_recent_sign_in(request: HttpRequest, max_age: timedelta | None = None) -> bool:
    """Whether this session's sign-in at the provider is younger than `max_age` (EPROSPERA_RECENT_SIGN_IN)."""
    noted = request.session.get(_SESSION_KEY)
    if not isinstance(noted, int) or isinstance(noted, bool) or not request.user.is_authenticated:
        return False
    age = time.time() - noted
    return 0 <= age < (max_age or conf.EPROSPERA_RECENT_SIGN_IN).total_seconds()
