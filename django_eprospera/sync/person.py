"""How do the answers about the person become rows: details, residency, identity check with its pictures?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django_eprospera import documents
from django_eprospera.errors import DocumentError
from django_eprospera.models import IdVerification, NaturalPerson, Residency, ResourceState, VerificationImage
from django_eprospera.sync.rows import Pulled, put, write

if TYPE_CHECKING:
    from datetime import datetime

    from django_eprospera.models import Connection
    from django_eprospera.provider import payloads
    from django_eprospera.sync.fetcher import ResourceFetcher

__all__ = ["id_verification", "natural_person", "residency"]

_RESOURCE = ResourceState.Resource
_KIND = VerificationImage.Kind


def natural_person(fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled:
    """Personal details. None on file: what was cached is deleted."""
    facts = fetcher.fetch(fetcher.client.natural_person)

    def save() -> bool:
        if facts is None:
            return bool(NaturalPerson.objects.filter(connection=connection).delete()[0])
        values = {
            "name": facts.name,
            "given_name": facts.given_name,
            "surname": facts.surname,
            "resident_permit_number": facts.resident_permit_number,
            "date_of_birth": facts.date_of_birth,
            "country_of_birth": facts.country_of_birth,
            "citizenships": list(facts.citizenships),
            "sex": facts.sex,
            "address": asdict(facts.address) if facts.address else None,
            "phone_number": facts.phone_number,
        }
        return put(NaturalPerson, values, connection=connection)

    return Pulled(changed=write(connection, _RESOURCE.NATURAL_PERSON, asked_at, save))


def residency(fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled:
    """Residency: whether there was one ever, and the one that is active now."""
    facts = fetcher.fetch(fetcher.client.residency)

    def save() -> bool:
        if facts is None:
            return bool(Residency.objects.filter(connection=connection).delete()[0])
        active = facts.active
        values = {
            "was_ever_resident": facts.was_ever_resident,
            "effective_date": active.effective_date if active else None,
            "termination_date": active.termination_date if active else None,
            # Null says that there is no residency; one whose type is not told is one all the same.
            "residency_type": active.residency_type or "" if active else None,
            "version": active.version if active else None,
        }
        return put(Residency, values, connection=connection)

    return Pulled(changed=write(connection, _RESOURCE.RESIDENCY, asked_at, save))


def id_verification(fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled:
    """The latest approved identity check and its pictures, which are fetched when they are new, missing or failed."""
    facts = fetcher.fetch(fetcher.client.id_verification)
    changed = write(connection, _RESOURCE.ID_VERIFICATION, asked_at, lambda: _save_check(connection, facts))
    if facts is None:
        return Pulled(changed=changed)
    missing = False
    for image in VerificationImage.objects.filter(verification__connection=connection):
        url = _urls(facts).get(image.kind)
        if url is None or (documents.is_stored(image) and not image.error):
            continue
        try:
            documents.fetch(image, url)
            changed = True
        except DocumentError:
            missing = True
    return Pulled(changed=changed, error="files" if missing else "")


def _save_check(connection: Connection, facts: payloads.IdVerification | None) -> bool:
    if facts is None:
        return bool(IdVerification.objects.filter(connection=connection).delete()[0])
    values: dict[str, Any] = {
        "verification_id": facts.id or "",
        "kind": facts.kind,
        "document_type": facts.document_type,
        "status": facts.status,
        "date": facts.date,
    }
    former = IdVerification.objects.filter(connection=connection).first()
    if former and (former.verification_id, former.date) != (values["verification_id"], values["date"]):
        # Pictures of an earlier check must not stand beside the facts of this one, however the fetching goes.
        former.images.all().delete()
    changed = put(IdVerification, values, connection=connection)
    row = IdVerification.objects.get(connection=connection)
    for kind, url in _urls(facts).items():
        if url is None:
            changed |= bool(row.images.filter(kind=kind).delete()[0])
        else:
            changed |= row.images.get_or_create(kind=kind)[1]
    return changed


def _urls(facts: payloads.IdVerification) -> dict[str, str | None]:
    return {
        _KIND.FACE: facts.face_url,
        _KIND.DOCUMENT_FRONT: facts.document_front_url,
        _KIND.DOCUMENT_BACK: facts.document_back_url,
    }
