"""Erasure of data whose consent was withdrawn longer ago than EPROSPERA_ERASE_AFTER, and of data that belongs to no row.

Withdrawn consent stops use at once; `consent` decides that. Decisions of reviews and the audit chain are kept as the site's
own record. Nothing here sends requests to the provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import IntegrityError, router, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from social_django.models import Partial

from django_eprospera import audit, documents
from django_eprospera.audit.rows import subject_of
from django_eprospera.conf import conf
from django_eprospera.consent import ENDED, NOT_GRANTED, SCOPES
from django_eprospera.models import (
    AuditEntry,
    Connection,
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    ResourceState,
    VerificationImage,
)
from django_eprospera.sign_in.pending import prune_states
from django_eprospera.sign_in.sessions import prune_sessions
from django_eprospera.tokens import spool

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from django.db.models import QuerySet

__all__ = ["Pruned", "erase_unshared", "prune", "prune_sign_ins"]

_RESOURCE = ResourceState.Resource
_FACTS: Final[dict[str, type[NaturalPerson | Residency | IdVerification]]] = {
    _RESOURCE.NATURAL_PERSON: NaturalPerson,
    _RESOURCE.RESIDENCY: Residency,
    _RESOURCE.ID_VERIFICATION: IdVerification,
}
# A younger file may be one whose row is just being written.
_WRITING: Final = timedelta(hours=1)
_BATCH: Final = 5_000
# How long a sign-in that a pipeline step has paused may wait for the person.
_PARTIAL_LIFETIME: Final = timedelta(days=1)


@dataclass(slots=True)
class Pruned:
    """How many of each were erased, or would be with `dry_run`, which does not count sign-ins.

    `files` are files that belong to no row, `sign_ins` rows of sign-ins that were begun and never finished.
    """

    consents: int = 0
    entities: int = 0
    facts: int = 0
    documents: int = 0
    files: int = 0
    sign_ins: int = 0


def prune(*, dry_run: bool = False) -> Pruned:
    """Erase what is due and return the counts. With `dry_run` only count."""
    count = Pruned()
    before = timezone.now() - conf.EPROSPERA_ERASE_AFTER
    _erase_facts(before, count, dry_run=dry_run)
    _erase_documents(before, count, dry_run=dry_run)
    _erase_consents(before, count, dry_run=dry_run)
    for name in _orphans():
        count.files += 1
        if not dry_run:
            documents.delete(name)
    if not dry_run:
        count.files += spool.sweep()
        count.sign_ins = prune_sign_ins()
    return count


def erase_unshared(entity_id: uuid.UUID) -> bool:
    """Erase a company and its documents if no consent to it is left. Returns whether it was erased."""
    try:
        with transaction.atomic(using=router.db_for_write(LegalEntity)):
            # Write first: SQLite then reads what stays true until the commit. Other databases rely on the foreign key.
            rows = LegalEntity.objects.filter(
                ~Exists(EntityConsent.objects.filter(entity=OuterRef("pk"))), pk=entity_id
            )
            if not rows.update(updated_at=F("updated_at")):
                return False
            entity = LegalEntity.objects.get(pk=entity_id)
            subject = subject_of(entity)
            entity.delete()
            audit.record(AuditEntry.Action.ERASED, subject, detail={"cause": "not_shared"})
    except IntegrityError:
        return False  # shared again at the same time
    return True


def prune_sign_ins() -> int:
    """Delete what abandoned sign-ins left: states, paused pipelines, and sessions that hold nothing else. Returns how many."""
    deleted = prune_sessions()
    while found := prune_states():
        deleted += found
    paused = Partial.objects.filter(backend="eprospera", timestamp__lt=timezone.now() - _PARTIAL_LIFETIME)
    return deleted + int(paused.delete()[0])


def _erase_consents(before: datetime, count: Pruned, *, dry_run: bool) -> None:
    ended = Connection.objects.filter(_ended(before))
    expired = EntityConsent.objects.filter(Q(withdrawn_at__lt=before) | Q(connection__in=ended))
    others = EntityConsent.objects.filter(entity=OuterRef("pk")).exclude(pk__in=expired.values("pk"))
    count.consents = expired.count()
    unshared = list(LegalEntity.objects.filter(~Exists(others)).values_list("pk", flat=True))
    if dry_run:
        count.entities = len(unshared)
        return
    expired.delete()
    # Most were erased with their last consent; erase the others.
    for entity_id in unshared:
        erase_unshared(entity_id)
    count.entities = len(unshared) - LegalEntity.objects.filter(pk__in=unshared).count()


def _erase_facts(before: datetime, count: Pruned, *, dry_run: bool) -> None:
    for resource, model in _FACTS.items():
        for connection in _withdrawn(resource, before).filter(Exists(model.objects.filter(connection=OuterRef("pk")))):
            count.facts += 1
            if not dry_run:
                with transaction.atomic(using=router.db_for_write(Connection)):
                    facts = model.objects.filter(connection=connection)
                    names = list(map(subject_of, facts))
                    facts.delete()
                    _note_erased(connection, resource, names)


def _erase_documents(before: datetime, count: Pruned, *, dry_run: bool) -> None:
    readers = Connection.objects.filter(scope__contains=SCOPES[_RESOURCE.ENTITY_DOCUMENTS]).exclude(_ended(before))
    read = EntityConsent.objects.filter(withdrawn_at=None, connection__in=readers, entity=OuterRef("entity"))
    unread = EntityDocument.objects.filter(~Exists(read))
    shared_by = unread.filter(entity__consents__connection=OuterRef("pk"))
    for connection in _withdrawn(_RESOURCE.ENTITY_DOCUMENTS, before).filter(Exists(shared_by)):
        erased = list(unread.filter(entity__consents__connection=connection))
        count.documents += len(erased)
        if erased and not dry_run:
            with transaction.atomic(using=router.db_for_write(Connection)):
                names = list(map(subject_of, erased))
                for document in erased:
                    document.delete()
                _note_erased(connection, _RESOURCE.ENTITY_DOCUMENTS, names)


def _withdrawn(resource: str, before: datetime) -> QuerySet[Connection]:
    """Return connections whose scope for the resource, or whose grant, ended before that time."""
    noticed = ResourceState.objects.filter(
        connection=OuterRef("pk"), resource=resource, error=NOT_GRANTED, attempted_at__lt=before
    )
    without_scope = Q(Exists(noticed)) & ~Q(scope__contains=SCOPES[resource])
    return Connection.objects.filter(without_scope | _ended(before))


def _ended(before: datetime) -> Q:
    return Q(state=Connection.State.REAUTHORIZE, state_cause__in=ENDED, state_changed_at__lt=before)


def _note_erased(connection: Connection, resource: str, deleted: Iterable[str]) -> None:
    ResourceState.objects.filter(connection=connection, resource=resource).update(synced_at=None, digest="")
    audit.record(
        AuditEntry.Action.ERASED, connection, detail={"cause": "not_granted", "resource": resource}, deleted=deleted
    )


def _orphans() -> Iterator[str]:
    """Yield the names of sealed files that belong to no row."""
    storage, young = documents.storage(), timezone.now() - _WRITING
    try:
        found = [name for name in storage.listdir(documents.FOLDER)[1] if ".sealed" in name]
    except FileNotFoundError:
        return
    if not found:
        return
    # By the name that a row would have: the name of a file that exists, the thumbnail if there is no other.
    names = [f"{documents.FOLDER}/{name}" for name in sorted(found, key=len, reverse=True)]
    orphans = {documents.file_of(name): name for name in names}
    for model in (VerificationImage, EntityDocument):
        stored = model.objects.exclude(storage_name="").values_list("storage_name", flat=True)
        for name in stored.iterator(chunk_size=_BATCH):
            orphans.pop(name, None)
    yield from (name for name, there in sorted(orphans.items()) if storage.get_modified_time(there) < young)
