"""Which cached facts does a reviewer judge? Rows in, plain values out; judges nothing and writes nothing.

The *identity* of a subject are the facts a decision is about: when they change, the decision no longer covers them. The
*snapshot* is everything there is, as evidence. A value that does not open stands in both as `UNREADABLE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from django_eprospera.errors import SealedValueError
from django_eprospera.models import (
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    Review,
    VerificationImage,
)

if TYPE_CHECKING:
    from django.db.models import Model

    from django_eprospera.models import Connection

__all__ = [
    "UNREADABLE",
    "EntityFacts",
    "PersonFacts",
    "entity_facts",
    "entity_subject",
    "facts_of",
    "is_readable",
    "person_facts",
    "person_subject",
]

UNREADABLE: Final = {"unreadable": True}

# What the stored file of a document is.
_FILE: Final = ("digest", "error")


@dataclass(frozen=True)
class PersonFacts:
    """What the cache holds of one person; None for what it does not hold."""

    connection: Connection
    person: NaturalPerson | None
    residency: Residency | None
    verification: IdVerification | None
    pictures: dict[str, VerificationImage]

    def identity(self) -> dict[str, Any]:
        """Who the person is, and by which document that was checked."""
        return {
            "person": _values(self.person, NaturalPerson.fact_names(identifies=True)),
            "identity_check": _values(self.verification, IdVerification.fact_names(identifies=True)),
            "pictures": {kind: _value(picture, "digest") for kind, picture in sorted(self.pictures.items())},
        }

    def snapshot(self) -> dict[str, Any]:
        """Everything, as plain JSON types."""
        return {
            "identity": self.identity(),
            "issuer": self.connection.issuer,
            "sub": self.connection.sub,
            "scopes": sorted(self.connection.scopes),
            "contact": _values(self.person, NaturalPerson.fact_names(identifies=False)),
            "residency": _values(self.residency, Residency.fact_names()),
            "identity_check_date": _values(self.verification, IdVerification.fact_names(identifies=False)),
            "freshness": _freshness([self.connection]),
        }


@dataclass(frozen=True)
class EntityFacts:
    """What the cache holds of one company, and who shares it now."""

    entity: LegalEntity
    consents: tuple[EntityConsent, ...]
    documents: tuple[EntityDocument, ...]

    def identity(self) -> dict[str, Any]:
        """Which company it is, and whether it exists."""
        return {"entity": _values(self.entity, LegalEntity.fact_names(identifies=True))}

    def snapshot(self) -> dict[str, Any]:
        """Everything, as plain JSON types."""
        return {
            "identity": self.identity(),
            "issuer": self.entity.issuer,
            "office": _values(self.entity, LegalEntity.fact_names(identifies=False)),
            "documents": [_values(document, (*EntityDocument.fact_names(), *_FILE)) for document in self.documents],
            "shared_by": sorted(consent.connection.sub for consent in self.consents),
            "freshness": _freshness([consent.connection for consent in self.consents]),
        }


def person_subject(connection: Connection) -> str:
    """The subject of a person's review: it outlives the connection and the user."""
    return f"{Review.Subject.PERSON.value}:{connection.issuer}:{connection.sub}"


def entity_subject(entity: LegalEntity) -> str:
    """The subject of a company's review."""
    return f"{Review.Subject.ENTITY.value}:{entity.issuer}:{entity.entity_id}"


def person_facts(connection: Connection) -> PersonFacts:
    """Read what the cache holds of the connection's person now."""
    verification = IdVerification.objects.filter(connection=connection).first()
    pictures = VerificationImage.objects.filter(verification=verification) if verification else ()
    return PersonFacts(
        connection=connection,
        person=NaturalPerson.objects.filter(connection=connection).first(),
        residency=Residency.objects.filter(connection=connection).first(),
        verification=verification,
        pictures={picture.kind: picture for picture in pictures},
    )


def entity_facts(entity: LegalEntity) -> EntityFacts:
    """Read what the cache holds of a company now."""
    entity = LegalEntity.objects.get(pk=entity.pk)
    consents = EntityConsent.objects.filter(entity=entity, withdrawn_at=None).select_related("connection__user")
    documents = EntityDocument.objects.filter(entity=entity).order_by("created_at", "document_id")
    return EntityFacts(entity, tuple(consents.order_by("shared_at", "pk")), tuple(documents))


def facts_of(review: Review) -> PersonFacts | EntityFacts | None:
    """Read the facts of a review's subject; None when the cache holds none any more (disconnected, erased)."""
    if review.subject_kind == Review.Subject.ENTITY:
        return entity_facts(review.entity) if review.entity else None
    connection = getattr(review.user, "eprospera", None)
    # The user may have come back as another person: then these are not the subject's facts.
    if connection is None or person_subject(connection) != review.subject:
        return None
    return person_facts(connection)


def is_readable(value: Any) -> bool:
    """Whether every sealed value in a snapshot opened."""
    if value == UNREADABLE:
        return False
    if isinstance(value, dict):
        return all(is_readable(item) for item in value.values())
    return all(is_readable(item) for item in value) if isinstance(value, list) else True


def _values(row: Model | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    return None if row is None else {name: _value(row, name) for name in names}


def _value(row: Model, name: str) -> Any:
    try:
        value = getattr(row, name)
    except SealedValueError:
        return UNREADABLE
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, float, list, dict)) else str(value)


def _freshness(connections: list[Connection]) -> list[dict[str, Any]]:
    names = ("resource", "synced_at", "attempted_at", "error")
    return [
        {"sub": connection.sub, **{name: _value(state, name) for name in names}}
        for connection in connections
        for state in connection.resources.order_by("resource")
    ]
