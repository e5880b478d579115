"""Storage of the answers about companies: consents, facts, documents.

Several people may share a company, so several syncs may write it, and each write locks its row. Consent is per person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import router, transaction
from django.utils import timezone

from django_eprospera import documents
from django_eprospera.errors import ClientRejected, DocumentError, NotFound, ProviderUnavailable, SealedValueError
from django_eprospera.models import EntityConsent, EntityDocument, LegalEntity, ResourceState
from django_eprospera.signals import entity_shared, entity_withdrawn
from django_eprospera.sync.rows import Changes, Pulled, finish, lock, note, send_after_commit, values_of, write
from django_eprospera.sync.schedule import failure_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django.dispatch import Signal

    from django_eprospera.models import Connection
    from django_eprospera.provider import payloads
    from django_eprospera.sync.answers import Answer

__all__ = ["entity_documents", "legal_entities", "withdraw_all"]

_RESOURCE = ResourceState.Resource
# Failures of one company, after which the others are still requested.
_ONE_COMPANY = (ProviderUnavailable, ClientRejected, SealedValueError)
# Facts that change together with the document's file.
_OF_FILE: Final = ("version", "created_at")


def legal_entities(connection: Connection, answer: Answer, asked_at: datetime, digest: str) -> Pulled:
    """Store the shared companies with their facts. Consent to a company that is not listed ends at once."""
    shared = write(
        connection,
        _RESOURCE.LEGAL_ENTITIES,
        asked_at,
        lambda changes: _share(changes, connection, answer.value, asked_at),
        digest=digest,
        unfinished=bool(answer.value),
    )

    def one(entity: LegalEntity, facts: payloads.LegalEntity) -> Pulled:
        return Pulled(changed=_describe(entity, facts))

    each = _for_each(connection, answer, one)
    if not each.error:
        finish(connection, _RESOURCE.LEGAL_ENTITIES, asked_at, digest)
    return Pulled(changed=shared or each.changed, error=each.error)


def entity_documents(connection: Connection, answer: Answer, asked_at: datetime, digest: str) -> Pulled:
    """Store the documents of all shared companies, and download files that are new, changed, missing or failed."""

    def one(entity: LegalEntity, listed: Iterable[payloads.EntityDocument]) -> Pulled:
        changed, wanted = _list_documents(entity, listed)
        missing = False
        for document, url, described in wanted:
            try:
                documents.fetch(document, url, **described)
                changed = True
            except DocumentError:
                missing = True
        return Pulled(changed=changed, error="files" if missing else "")

    each = _for_each(connection, answer, one)
    if each.error in {"", "files"}:
        note(connection, _RESOURCE.ENTITY_DOCUMENTS, asked_at, "", digest=digest if not each.error else "")
    return each


def withdraw_all(connection: Connection) -> bool:
    """End every consent of the connection, whose scopes no longer include companies. Return whether there was any."""
    with transaction.atomic(using=router.db_for_write(EntityConsent)):
        lock(connection)
        changes = Changes()
        _withdraw(changes, connection, connection.entity_consents.filter(withdrawn_at=None))
        changes.record(connection)
    return bool(changes)


def _for_each(connection: Connection, answer: Answer, store: Callable[[LegalEntity, Any], Pulled]) -> Pulled:
    """Store what was answered about each company. Return whether anything changed, and the first error."""
    changed, code = False, ""
    for consent in connection.entity_consents.filter(withdrawn_at=None).select_related("entity").order_by("pk"):
        facts = answer.of_each.get(consent.entity.entity_id)
        if facts is None:
            continue  # shared by a later sign-in, whose sync requests it
        try:
            if isinstance(facts, Exception):
                raise facts
            pulled = store(consent.entity, facts)
        except NotFound:
            # No longer shared or represented (docs/provider.md#consent): the same as no longer listed.
            with transaction.atomic(using=router.db_for_write(EntityConsent)):
                lock(connection)
                changes = Changes()
                _withdraw(changes, connection, [consent])
                changes.record(connection)
            pulled = Pulled(changed=bool(changes))
        except _ONE_COMPANY as error:
            pulled = Pulled(changed=False, error=failure_code(error))
        changed |= pulled.changed
        code = code or pulled.error
    return Pulled(changed=changed, error=code)


def _share(
    changes: Changes, connection: Connection, listed: Iterable[payloads.LegalEntity], asked_at: datetime
) -> None:
    present = []
    # All syncs use the same order. Otherwise two people who share the same new companies would deadlock.
    for facts in sorted(listed, key=lambda facts: facts.id):
        entity, is_new = LegalEntity.objects.get_or_create(
            issuer=connection.issuer, entity_id=facts.id, defaults=values_of(LegalEntity, facts)
        )
        if is_new:
            changes.note(entity)
        consent, is_new = EntityConsent.objects.get_or_create(
            connection=connection, entity=entity, defaults={"shared_at": asked_at}
        )
        if is_new:
            changes.note(consent)
        if is_new or (
            consent.withdrawn_at is not None and changes.update(consent, {"shared_at": asked_at, "withdrawn_at": None})
        ):
            _send(entity_shared, connection, entity)
        present.append(entity.pk)
    gone = connection.entity_consents.filter(withdrawn_at=None).exclude(entity__in=present).select_related("entity")
    _withdraw(changes, connection, gone)


def _withdraw(changes: Changes, connection: Connection, consents: Iterable[EntityConsent]) -> None:
    for consent in consents:
        if changes.update(consent, {"withdrawn_at": timezone.now()}):
            _send(entity_withdrawn, connection, consent.entity)


def _send(signal: Signal, connection: Connection, entity: LegalEntity) -> None:
    send_after_commit(signal, EntityConsent, connection=connection, entity=entity)


def _describe(entity: LegalEntity, facts: payloads.LegalEntity) -> bool:
    with transaction.atomic(using=router.db_for_write(LegalEntity)):
        row, changes = _locked(entity), Changes()
        if row is not None:
            changes.update(row, values_of(LegalEntity, facts))
            changes.record(row)
    return bool(changes)


class _Wanted(NamedTuple):
    document: EntityDocument
    url: str
    # Written together with the file: until then the row describes the file that it has.
    described: dict[str, Any]


def _list_documents(entity: LegalEntity, listed: Iterable[payloads.EntityDocument]) -> tuple[bool, list[_Wanted]]:
    """Update the rows from the list. Return whether any changed, and the files to download."""
    changes, wanted, present = Changes(), [], set()
    with transaction.atomic(using=router.db_for_write(LegalEntity)):
        if _locked(entity) is None:
            return False, []
        rows = {row.document_id: row for row in entity.documents.all()}
        for facts in listed:
            present.add(facts.id)
            names = values_of(EntityDocument, facts)
            described = {name: names.pop(name) for name in _OF_FILE}
            row = rows.get(facts.id)
            if row is not None and facts.file_url is None and not _has(row, described):
                changes.delete([row])  # with its file, which is of another version
                row = None
            if row is None:
                row = entity.documents.create(**names, **described)
                changes.note(row)
            changes.update(row, names)
            if facts.file_url is not None and (row.error or not _has(row, described) or not documents.is_stored(row)):
                wanted.append(_Wanted(row, facts.file_url, described))
        changes.delete(row for row in rows.values() if row.document_id not in present)
        changes.record(entity)
    return bool(changes), wanted


def _has(row: EntityDocument, described: dict[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in described.items())


def _locked(entity: LegalEntity) -> LegalEntity | None:
    """Lock the company's row until the transaction ends, and return it; None if it has been erased meanwhile."""
    rows = LegalEntity.objects.filter(pk=entity.pk)
    return rows.get() if rows.update(updated_at=timezone.now()) else None
