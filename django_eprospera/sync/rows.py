"""Short transactions that store an answer and write only what changed, safe for several syncs at once.

Every transaction of a connection begins with a write to its row. That locks the row on every database (on SQLite it also
takes the write lock before anything is read), and it fails if the connection has been deleted meanwhile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models, router, transaction
from django.db.models import F

from django_eprospera import audit
from django_eprospera.audit.rows import COVERED, subject_of
from django_eprospera.consent import UNFINISHED
from django_eprospera.errors import GrantGone
from django_eprospera.models import AuditEntry, Connection, ResourceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django.dispatch import Signal

    from django_eprospera.models.facts import Fact, FactsModel

__all__ = ["Changes", "Pulled", "finish", "lock", "note", "send_after_commit", "still", "values_of", "write"]

M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class Pulled:
    """Whether rows or files changed, and the code of a failure that left the answer itself good (such as `files`)."""

    changed: bool
    error: str = ""


class Changes:
    """Writes rows, only where they change, and remembers which for the audit entry of the transaction."""

    def __init__(self) -> None:
        self._written: dict[str, models.Model] = {}
        self._deleted: dict[str, type[models.Model]] = {}
        # The names of the fields that were written or deleted.
        self.names: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._written or self._deleted)

    def put(self, model: type[M], values: dict[str, Any], **key: Any) -> M:
        """Create the row of `key` with `values`, or update it, and return it. Raises as `update` does."""
        rows: models.Manager[M] = model._default_manager  # noqa: SLF001 - Django's documented name for any model's manager
        row, created = rows.get_or_create(**key, defaults=values)
        if created:
            self.names.update(values)
            self.note(row)
        else:
            self.update(row, values)
        return row

    def update(self, row: models.Model, values: dict[str, Any]) -> bool:
        """Write those of `values` that differ from the row's. Return whether any do. Raises SealedValueError beforehand."""
        changed = [name for name, value in values.items() if getattr(row, name) != value]
        for name in changed:
            setattr(row, name, values[name])
        if changed:
            self.names.update(changed)
            row.save(update_fields=changed)
            self.note(row)
        return bool(changed)

    def delete(self, rows: Iterable[models.Model]) -> None:
        """Delete rows."""
        for row in rows:
            self._deleted[subject_of(row)] = type(row)
            self.names.update(field.name for field in row._meta.concrete_fields)
            row.delete()

    def note(self, row: models.Model) -> None:
        """Remember a row that the caller wrote."""
        self._written[subject_of(row)] = row

    def record(self, subject: models.Model) -> None:
        """Add an audit entry with the rows that it covers, if there are any. Call this last in the transaction."""
        rows = [row for row in self._written.values() if type(row) in COVERED]
        deleted = [name for name, model in self._deleted.items() if model in COVERED]
        if rows or deleted:
            audit.record(AuditEntry.Action.STORED, subject, rows=rows, deleted=deleted)


def write(
    connection: Connection,
    resource: str,
    asked_at: datetime,
    save: Callable[[Changes], object],
    *,
    digest: str,
    unfinished: bool = False,
) -> bool:
    """Call `save` to store a good answer, and mark the resource as fresh, in one transaction. Return whether anything changed.

    `digest` is that of the answer. With `unfinished`, files or other rows belong to the resource too: it stays marked as
    unfinished until `finish` is called, so that it is due again when the sync dies in between.

    An answer that was requested before the cached one is dropped, and False returned. Raises GrantGone if the connection has
    been deleted.
    """
    with transaction.atomic(using=router.db_for_write(Connection)):
        lock(connection)
        state = _state(connection, resource)
        if state.synced_at is not None and state.synced_at > asked_at:
            return False
        changes = Changes()
        save(changes)
        state.synced_at = state.attempted_at = asked_at
        state.error, state.digest = (UNFINISHED, "") if unfinished else ("", digest)
        state.save()
        changes.record(connection)
    return bool(changes)


def finish(connection: Connection, resource: str, asked_at: datetime, digest: str) -> None:
    """Mark a resource as fresh whose answer of `asked_at` was written as unfinished."""
    ResourceState.objects.filter(
        connection=connection, resource=resource, attempted_at=asked_at, error=UNFINISHED
    ).update(error="", digest=digest)


def still(connection: Connection, resources: Iterable[str], asked_at: datetime) -> None:
    """Mark resources as fresh whose answer of `asked_at` is the one that is stored."""
    ResourceState.objects.filter(
        connection=connection, resource__in=resources, error="", synced_at__lt=asked_at
    ).update(synced_at=asked_at, attempted_at=asked_at)


def note(connection: Connection, resource: str, asked_at: datetime, error: str, digest: str = "") -> None:
    """Store time and error code of an attempt (empty: a good answer, of that digest).

    Raises GrantGone if the connection has been deleted.
    """
    with transaction.atomic(using=router.db_for_write(Connection)):
        lock(connection)
        state = _state(connection, resource)
        if state.synced_at is not None and state.synced_at > asked_at:
            return
        if not error:
            state.synced_at = asked_at
        state.attempted_at = asked_at
        state.error, state.digest = error, digest
        state.save()


def send_after_commit(signal: Signal, sender: type[models.Model], **arguments: Any) -> None:
    """Send a signal when the transaction of the sync is committed. A receiver that raises is logged by Django."""
    alias = router.db_for_write(sender)
    transaction.on_commit(lambda: signal.send_robust(sender, **arguments), using=alias)


def lock(connection: Connection) -> None:
    """Lock the connection's row until the transaction ends. Raises GrantGone if the connection has been deleted."""
    if not Connection.objects.filter(pk=connection.pk).update(used_at=F("used_at")):
        raise GrantGone("The connection was disconnected meanwhile.", "disconnected")


def _state(connection: Connection, resource: str) -> ResourceState:
    found = ResourceState.objects.filter(connection=connection, resource=resource).first()
    return found or ResourceState(connection=connection, resource=resource)


def values_of(model: type[FactsModel], answer: object) -> dict[str, Any]:
    """Return the values of the model's facts in an answer (a dataclass of `provider.payloads`), as its fields take them."""
    return {fact.name: _value_of(model, fact, answer) for fact in model.FACTS}


def _value_of(model: type[FactsModel], fact: Fact, answer: object) -> Any:
    value: Any = answer
    for name in (fact.source or fact.name).split("."):
        value = None if value is None else getattr(value, name)
    if value is None:
        return None if model._meta.get_field(fact.name).null else ""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value
