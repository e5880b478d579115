"""How does an answer become rows, when several syncs may be at it? Short transactions that write only what changed.

Every transaction of a connection begins with a write to its row. That is a lock on every database (on SQLite it also
takes the one write lock before anything is read), and it fails when the connection was disconnected meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models, router, transaction
from django.db.models import F

from django_eprospera.errors import GrantGone
from django_eprospera.models import Connection, ResourceState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Pulled", "lock", "note", "put", "update", "write"]

M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class Pulled:
    """Whether rows or files changed, and the code of what could not be had although the answer itself was good."""

    changed: bool
    error: str = ""


def write(connection: Connection, resource: str, asked_at: datetime, save: Callable[[], bool]) -> bool:
    """Let `save` store a good answer and mark the resource as fresh, in one transaction. Returns what `save` returns.

    An answer that was asked for before the one in the cache is thrown away: then False. Raises GrantGone when the
    connection is no longer there.
    """
    with transaction.atomic(using=router.db_for_write(Connection)):
        lock(connection)
        state = _state(connection, resource)
        if state.synced_at is not None and state.synced_at > asked_at:
            return False
        changed = save()
        state.synced_at = state.attempted_at = asked_at
        state.error = ""
        state.save()
    return changed


def note(connection: Connection, resource: str, asked_at: datetime, error: str) -> None:
    """Keep the outcome of an attempt: its time, and the code of what went wrong (empty: a good answer)."""
    with transaction.atomic(using=router.db_for_write(Connection)):
        lock(connection)
        state = _state(connection, resource)
        if state.synced_at is not None and state.synced_at > asked_at:
            return
        if not error:
            state.synced_at = asked_at
        state.attempted_at = asked_at
        state.error = error
        state.save()


def lock(connection: Connection) -> None:
    """Hold the connection's row until the transaction ends. Raises GrantGone when it is no longer there."""
    if not Connection.objects.filter(pk=connection.pk).update(used_at=F("used_at")):
        raise GrantGone("The connection was disconnected meanwhile.", "disconnected")


def _state(connection: Connection, resource: str) -> ResourceState:
    found = ResourceState.objects.filter(connection=connection, resource=resource).first()
    return found or ResourceState(connection=connection, resource=resource)


def put(model: type[M], values: dict[str, Any], **key: Any) -> bool:
    """Create the row of `key` with `values`, or change it to them. Returns whether anything had to be written."""
    rows: models.Manager[M] = model._default_manager  # noqa: SLF001 - Django's documented name for any model's manager
    row = rows.filter(**key).first()
    if row is None:
        rows.create(**key, **values)
        return True
    return update(row, values)


def update(row: models.Model, values: dict[str, Any]) -> bool:
    """Change a row to `values` where it differs. Returns whether it did. Raises SealedValueError, before it writes."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.save(update_fields=changed)
    return bool(changed)
