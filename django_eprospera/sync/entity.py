"""How do the answers about companies become rows: which are shared, what they are, their documents?

An entity may be shared by several people, so several syncs may write it; each write locks its row. Consent is per person.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import router, transaction
from django.utils import timezone

from django_eprospera import documents
from django_eprospera.errors import ClientRejected, DocumentError, NotFound, ProviderUnavailable, SealedValueError
from django_eprospera.models import EntityConsent, EntityDocument, LegalEntity, ResourceState
from django_eprospera.signals import entity_consent_withdrawn
from django_eprospera.sync.rows import Pulled, lock, note, update, write
from django_eprospera.sync.schedule import failure_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django_eprospera.models import Connection
    from django_eprospera.provider import payloads
    from django_eprospera.sync.fetcher import ResourceFetcher

__all__ = ["entity_documents", "legal_entities", "withdraw_all"]

_RESOURCE = ResourceState.Resource
# What goes wrong with one company and leaves the others worth asking about.
_ONE_COMPANY = (ProviderUnavailable, ClientRejected, SealedValueError)


def legal_entities(fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled:
    """Which companies are shared now, and the facts of each. One that is not listed any more is withdrawn at once."""
    listed = fetcher.fetch(fetcher.client.legal_entities)
    shared = write(connection, _RESOURCE.LEGAL_ENTITIES, asked_at, lambda: _share(connection, listed, asked_at))

    def one(entity: LegalEntity) -> Pulled:
        return Pulled(changed=_describe(entity, fetcher.fetch(fetcher.client.legal_entity, entity.entity_id)))

    each = _for_each(connection, one)
    return Pulled(changed=shared or each.changed, error=each.error)


def entity_documents(fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled:
    """The documents of every company that is shared now. Files are fetched when they are new, changed, missing or failed."""

    def one(entity: LegalEntity) -> Pulled:
        listed = fetcher.fetch(fetcher.client.legal_entity_documents, entity.entity_id)
        changed, wanted = _list_documents(entity, listed)
        missing = False
        for document, url, described in wanted:
            try:
                documents.fetch(document, url, **described)
                changed = True
            except DocumentError:
                missing = True
        return Pulled(changed=changed, error="files" if missing else "")

    each = _for_each(connection, one)
    if each.error in {"", "files"}:
        note(connection, _RESOURCE.ENTITY_DOCUMENTS, asked_at, "")
    return each


def withdraw_all(connection: Connection) -> bool:
    """End every consent of the connection: its scopes no longer open companies. Returns whether there was any."""
    with transaction.atomic(using=router.db_for_write(EntityConsent)):
        lock(connection)
        return _withdraw(connection, connection.entity_consents.filter(withdrawn_at=None))


def _for_each(connection: Connection, pull: Callable[[LegalEntity], Pulled]) -> Pulled:
    changed, code = False, ""
    for consent in connection.entity_consents.filter(withdrawn_at=None).select_related("entity").order_by("pk"):
        try:
            pulled = pull(consent.entity)
        except NotFound:
            # No longer shared or represented (docs/provider.md#consent): the same as no longer listed.
            with transaction.atomic(using=router.db_for_write(EntityConsent)):
                lock(connection)
                pulled = Pulled(changed=_withdraw(connection, [consent]))
        except _ONE_COMPANY as error:
            pulled = Pulled(changed=False, error=failure_code(error))
        changed |= pulled.changed
        code = code or pulled.error
    return Pulled(changed=changed, error=code)


def _share(connection: Connection, listed: Iterable[payloads.LegalEntity], asked_at: datetime) -> bool:
    changed, present = False, []
    # In one order for everybody: two people who share the same new companies would wait for each other else.
    for facts in sorted(listed, key=lambda facts: facts.id):
        key = {"issuer": connection.issuer, "entity_id": facts.id}
        entity, _ = LegalEntity.objects.get_or_create(**key, defaults=_brief(facts))
        consent, is_new = EntityConsent.objects.get_or_create(
            connection=connection, entity=entity, defaults={"shared_at": asked_at}
        )
        if consent.withdrawn_at is not None:
            update(consent, {"shared_at": asked_at, "withdrawn_at": None})
            is_new = True
        changed |= is_new
        present.append(entity.pk)
    gone = connection.entity_consents.filter(withdrawn_at=None).exclude(entity__in=present).select_related("entity")
    return _withdraw(connection, gone) or changed


def _withdraw(connection: Connection, consents: Iterable[EntityConsent]) -> bool:
    withdrawn = [consent for consent in consents if update(consent, {"withdrawn_at": timezone.now()})]
    for consent in withdrawn:
        transaction.on_commit(_send_withdrawn(connection, consent.entity), using=router.db_for_write(EntityConsent))
    return bool(withdrawn)


def _send_withdrawn(connection: Connection, entity: LegalEntity) -> Callable[[], object]:
    return lambda: entity_consent_withdrawn.send_robust(EntityConsent, connection=connection, entity=entity)


def _describe(entity: LegalEntity, facts: payloads.LegalEntity) -> bool:
    address = facts.principal_office_address
    values = _brief(facts) | {
        "formation_date": facts.formation_date,
        "registration_date": facts.registration_date,
        "dissolution_date": facts.dissolution_date,
        "principal_office_address": asdict(address) if address else None,
        "created_at": facts.created_at,
    }
    with transaction.atomic(using=router.db_for_write(LegalEntity)):
        row = _locked(entity)
        return row is not None and update(row, values)


def _brief(facts: payloads.LegalEntity) -> dict[str, Any]:
    """What the list says of an entity already."""
    return {
        "option_id": facts.option_id or "",
        "type": facts.type or "",
        "name": facts.name,
        "extension": facts.extension,
        "name_starts_with_extension": facts.name_starts_with_extension,
        "resident_permit_number": facts.resident_permit_number,
    }


class _Wanted(NamedTuple):
    document: EntityDocument
    url: str
    # What the file's row is to say once it holds this file: until then it describes the file that it has.
    described: dict[str, Any]


def _list_documents(entity: LegalEntity, listed: Iterable[payloads.EntityDocument]) -> tuple[bool, list[_Wanted]]:
    """Bring the rows in line with the list. Returns whether any changed, and which files to fetch."""
    changed, wanted, present = False, [], set()
    with transaction.atomic(using=router.db_for_write(LegalEntity)):
        if _locked(entity) is None:
            return False, []
        rows = {row.document_id: row for row in entity.documents.all()}
        for facts in listed:
            present.add(facts.id)
            names = {"name": facts.name, "slug": facts.slug or ""}
            described = {"version": facts.version or "", "created_at": facts.created_at}
            row = rows.get(facts.id)
            if row is not None and facts.file_url is None and not _says(row, described):
                row.delete()  # and its file: what it holds is not this version
                row = None
            if row is None:
                row = entity.documents.create(document_id=facts.id, **names, **described)
                changed = True
            changed |= update(row, names)
            if facts.file_url is not None and (row.error or not _says(row, described) or not documents.is_stored(row)):
                wanted.append(_Wanted(row, facts.file_url, described))
        for row in rows.values():
            if row.document_id not in present:
                row.delete()
                changed = True
    return changed, wanted


def _says(row: EntityDocument, described: dict[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in described.items())


def _locked(entity: LegalEntity) -> LegalEntity | None:
    """The entity as it is now, its row held until the transaction ends; None when it was erased meanwhile."""
    rows = LegalEntity.objects.filter(pk=entity.pk)
    return rows.get() if rows.update(updated_at=timezone.now()) else None
