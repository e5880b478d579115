"""Sessions in the database that are to end: those of sign-ins that were only begun, and the other ones of a user."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from django_eprospera.sign_in.pending import LIFETIME, STATE_INDEX, STATE_KEY

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

__all__ = ["end_other_sessions", "prune_sessions"]

# `eprospera_prune` runs daily; a session that was saved before the run before last was seen by one.
_DAYS: Final = timedelta(days=2)


def end_other_sessions(request: HttpRequest, user: User) -> bool:
    """End every session of `user` but the one of `request`. Returns False when this cannot be done.

    Without a usable password, a new unusable one changes the session hash, which ends the others wherever they are kept.
    With one, only a change of password could do that. Sessions in the database (`db`, `cached_db`) are then deleted, after
    all unexpired ones are read; those of other engines cannot be listed.
    """
    if not user.has_usable_password():
        user.set_unusable_password()
        user.save(update_fields=["password"])
        update_session_auth_hash(request, user)
        return True
    store = request.session
    if not isinstance(store, SessionStore):
        return False
    kept, mine = store.session_key, str(user.pk)
    rows = store.model.objects.filter(expire_date__gt=timezone.now()).exclude(session_key=kept)
    for row in rows.iterator():
        if row.get_decoded().get(SESSION_KEY) == mine:
            store.delete(row.session_key)
    return True


def prune_sessions() -> int:
    """Delete sessions that hold nothing but sign-ins which were begun and never returned. Returns how many.

    Reads those that were last saved in the past two days, by the index of `expire_date`. Only engines that keep sessions in
    the database (`db`, `cached_db`) have any to read.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    if not isinstance(store, SessionStore):
        return 0
    saved_before = timezone.now() - timedelta(seconds=LIFETIME)
    age = timedelta(seconds=store.get_session_cookie_age())
    rows = store.model.objects.filter(expire_date__lt=saved_before + age, expire_date__gt=saved_before + age - _DAYS)
    abandoned = [row.session_key for row in rows.iterator() if _is_only_begun(row.get_decoded())]
    for key in abandoned:
        store.delete(key)
    return len(abandoned)


def _is_only_begun(data: dict[str, object]) -> bool:
    return STATE_INDEX in data and all(name == STATE_INDEX or name.startswith(STATE_KEY) for name in data)
