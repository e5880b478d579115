"""The other sessions of a user, for someone whose session was stolen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

__all__ = ["end_other_sessions"]


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
