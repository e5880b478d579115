"""Storage of the answers about a person: personal details, residency, identity check with its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_eprospera import documents
from django_eprospera.errors import DocumentError
from django_eprospera.models import IdVerification, NaturalPerson, Residency, ResourceState, VerificationImage
from django_eprospera.signals import identity_changed, residency_changed
from django_eprospera.sync.rows import Changes, Pulled, finish, send_after_commit, values_of, write

if TYPE_CHECKING:
    from datetime import datetime

    from django_eprospera.models import Connection
    from django_eprospera.models.facts import FactsModel
    from django_eprospera.provider import payloads
    from django_eprospera.sync.answers import Answer

__all__ = ["id_verification", "natural_person", "residency"]

_RESOURCE = ResourceState.Resource
_KIND = VerificationImage.Kind


def natural_person(connection: Connection, answer: Answer, asked_at: datetime, digest: str) -> Pulled:
    """Store the personal details. Delete the cached ones if the provider has none."""
    facts = answer.value

    def save(changes: Changes) -> None:
        if facts is None:
            changes.delete(NaturalPerson.objects.filter(connection=connection))
        else:
            changes.put(NaturalPerson, values_of(NaturalPerson, facts), connection=connection)
        _send_identity(connection, changes, NaturalPerson)

    return Pulled(changed=write(connection, _RESOURCE.NATURAL_PERSON, asked_at, save, digest=digest))


def residency(connection: Connection, answer: Answer, asked_at: datetime, digest: str) -> Pulled:
    """Store the residency: whether there ever was one, and the active one."""
    facts = answer.value

    def save(changes: Changes) -> None:
        former = Residency.objects.filter(connection=connection).first()
        was_active = None if former is None else former.is_active
        is_active = store(changes)
        if changes:
            send_after_commit(
                residency_changed, Residency, connection=connection, was_active=was_active, is_active=is_active
            )

    def store(changes: Changes) -> bool | None:
        if facts is None:
            changes.delete(Residency.objects.filter(connection=connection))
            return None
        values = values_of(Residency, facts)
        if facts.active and values["residency_type"] is None:
            # Null means that there is no residency. This one has a type that the provider does not name.
            values["residency_type"] = ""
        return changes.put(Residency, values, connection=connection).is_active

    return Pulled(changed=write(connection, _RESOURCE.RESIDENCY, asked_at, save, digest=digest))


def id_verification(connection: Connection, answer: Answer, asked_at: datetime, digest: str) -> Pulled:
    """Store the latest approved identity check, and download pictures that are new, missing or failed before."""
    facts = answer.value
    changed = write(
        connection,
        _RESOURCE.ID_VERIFICATION,
        asked_at,
        lambda changes: _save_check(changes, connection, facts),
        digest=digest,
        unfinished=facts is not None,
    )
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
    if not missing:
        finish(connection, _RESOURCE.ID_VERIFICATION, asked_at, digest)
    return Pulled(changed=changed, error="files" if missing else "")


def _save_check(changes: Changes, connection: Connection, facts: payloads.IdVerification | None) -> None:
    if facts is None:
        changes.delete(IdVerification.objects.filter(connection=connection))
        _send_identity(connection, changes, IdVerification)
        return
    values = values_of(IdVerification, facts)
    former = IdVerification.objects.filter(connection=connection).first()
    if former and (former.verification_id, former.date) != (values["verification_id"], values["date"]):
        # Pictures of an earlier check must never be shown with the facts of this one, even if the downloads fail.
        former.images.all().delete()
    row = changes.put(IdVerification, values, connection=connection)
    _send_identity(connection, changes, IdVerification)
    for kind, url in _urls(facts).items():
        if url is None:
            changes.delete(row.images.filter(kind=kind))
        else:
            changes.put(VerificationImage, {}, verification=row, kind=kind)


def _send_identity(connection: Connection, changes: Changes, model: type[FactsModel]) -> None:
    changed = sorted(changes.names & set(model.fact_names(identifies=True)))
    if changed:
        send_after_commit(identity_changed, model, connection=connection, changed=changed)


def _urls(facts: payloads.IdVerification) -> dict[str, str | None]:
    return {kind: getattr(facts, f"{kind.value}_url") for kind in _KIND}
