"""The cached facts about the subject of a review, as plain values. Judges nothing and writes nothing.

The *identity* of a subject are the facts that a decision is about: when they change, the decision no longer covers the
subject. The *snapshot* is everything, as evidence. In both, a value that cannot be decrypted is `UNREADABLE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.db.models import OuterRef, Value
from django.db.models.functions import Concat

from django_eprospera.conf import conf
from django_eprospera.consent import is_current
from django_eprospera.errors import SealedValueError
from django_eprospera.fields import Sealed
from django_eprospera.models import (
    Connection,
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


__all__ = [
    "UNREADABLE",
    "EntityFacts",
    "PersonFacts",
    "entity_facts",
    "entity_subject",
    "facts_of",
    "full_name",
    "is_readable",
    "person_facts",
    "person_subject",
    "person_subject_expression",
    "shown",
]

UNREADABLE: Final = {"unreadable": True}

# What the stored file of a document is.
_FILE: Final = ("digest", "error")


@dataclass(frozen=True)
class PersonFacts:
    """The cached facts about one person; None for what is not cached. `stored` are their columns, undecrypted."""

    connection: Connection
    person: NaturalPerson | None
    residency: Residency | None
    verification: IdVerification | None
    pictures: dict[str, VerificationImage]
    stored: tuple[Any, ...]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Who the person is, and by which document that was checked."""
        return {
            "person": _values(self.person, NaturalPerson.fact_names(identifies=True)),
            "identity_check": _values(self.verification, IdVerification.fact_names(identifies=True)),
            "pictures": {kind: _value(picture, "digest") for kind, picture in sorted(self.pictures.items())},
        }

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """All facts, as plain JSON types."""
        return {
            "identity": self.identity,
            "issuer": self.connection.issuer,
            "sub": self.connection.sub,
            "scopes": sorted(self.connection.scopes),
            "contact": _values(self.person, NaturalPerson.fact_names(identifies=False)),
            "residency": _values(self.residency, Residency.fact_names()),
            "identity_check_date": _values(self.verification, IdVerification.fact_names(identifies=False)),
            "freshness": _freshness(self.connections),
        }

    @property
    def files(self) -> tuple[VerificationImage, ...]:
        """The rows of the pictures."""
        return tuple(self.pictures.values())

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that the facts come from."""
        return (self.connection,)

    @property
    def is_current(self) -> bool:
        """Whether the facts are of the provider and the client that the settings name now."""
        return is_current(self.connection)


@dataclass(frozen=True)
class EntityFacts:
    """The cached facts about one company, and who shares it. `stored` are their columns, undecrypted."""

    entity: LegalEntity
    consents: tuple[EntityConsent, ...]
    documents: tuple[EntityDocument, ...]
    stored: tuple[Any, ...]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Which company it is, and whether it exists."""
        return {"entity": _values(self.entity, LegalEntity.fact_names(identifies=True))}

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """All facts, as plain JSON types."""
        return {
            "identity": self.identity,
            "issuer": self.entity.issuer,
            "office": _values(self.entity, LegalEntity.fact_names(identifies=False)),
            "documents": [_values(document, (*EntityDocument.fact_names(), *_FILE)) for document in self.documents],
            "shared_by": sorted(connection.sub for connection in self.connections),
            "freshness": _freshness(self.connections),
        }

    @property
    def files(self) -> tuple[EntityDocument, ...]:
        """The rows of the documents."""
        return self.documents

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections that the facts come from."""
        return tuple(consent.connection for consent in self.consents)

    @property
    def is_current(self) -> bool:
        """Whether the facts are of the provider and the client that the settings name now."""
        shared = not self.consents or any(map(is_current, self.connections))
        return shared and self.entity.issuer == conf.EPROSPERA_BASE_URL


def shown(facts: PersonFacts | EntityFacts | None) -> dict[str, Any]:
    """Return the snapshot without the times of its requests, which change without the facts."""
    return {name: value for name, value in (facts.snapshot if facts else {}).items() if name != "freshness"}


def person_subject(connection: Connection) -> str:
    """Return the subject of a person's review, which remains when connection and user are deleted."""
    return f"{Review.Subject.PERSON.value}:{connection.issuer}:{connection.sub}"


def person_subject_expression() -> Concat:
    """Return `person_subject` as an expression for a subquery of a queryset of connections."""
    return Concat(Value(f"{Review.Subject.PERSON.value}:"), OuterRef("issuer"), Value(":"), OuterRef("sub"))


def entity_subject(entity: LegalEntity) -> str:
    """Return the subject of a company's review."""
    return f"{Review.Subject.ENTITY.value}:{entity.issuer}:{entity.entity_id}"


def person_facts(connection: Connection) -> PersonFacts:
    """Return the cached facts of the connection's person."""
    person = NaturalPerson.objects.filter(connection=connection).first()
    residency = Residency.objects.filter(connection=connection).first()
    verification = IdVerification.objects.filter(connection=connection).first()
    pictures = VerificationImage.objects.filter(verification=verification).order_by("kind") if verification else ()
    return PersonFacts(
        connection=connection,
        person=person,
        residency=residency,
        verification=verification,
        pictures={picture.kind: picture for picture in pictures},
        stored=(_grant(connection), *map(_columns, (person, residency, verification, *pictures))),
    )


def entity_facts(entity: LegalEntity) -> EntityFacts:
    """Return the cached facts of a company."""
    entity = LegalEntity.objects.get(pk=entity.pk)
    consents = EntityConsent.objects.filter(entity=entity, withdrawn_at=None).select_related("connection__user")
    consents = consents.order_by("shared_at", "pk")
    documents = EntityDocument.objects.filter(entity=entity).order_by("created_at", "document_id")
    return EntityFacts(
        entity,
        tuple(consents),
        tuple(documents),
        stored=(*(_grant(consent.connection) for consent in consents), *map(_columns, (entity, *documents))),
    )


def full_name(user: Any) -> str:
    """Return the full name of a user; empty if the user model has none."""
    method = getattr(user, "get_full_name", None)
    return str(method() or "") if callable(method) else ""


def facts_of(review: Review) -> PersonFacts | EntityFacts | None:
    """Return the facts of a review's subject, read anew; None if they have been erased (disconnected, no longer shared)."""
    if review.subject_kind == Review.Subject.ENTITY:
        entity = LegalEntity.objects.filter(reviews=review).first()
        return None if entity is None else entity_facts(entity)
    connection = Connection.objects.filter(user__eprospera_reviews=review).select_related("user").first()
    # The user may have connected as another person since: those are not the subject's facts.
    if connection is None or person_subject(connection) != review.subject:
        return None
    return person_facts(connection)


def is_readable(value: Any) -> bool:
    """Whether every sealed value in a snapshot could be decrypted."""
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


def _columns(row: Model | None) -> dict[str, Any] | None:
    if row is None:
        return None
    # Every sync writes `updated_at` of a company, to lock its row.
    return {
        field.attname: value.text if isinstance(value := row.__dict__[field.attname], Sealed) else value
        for field in row._meta.concrete_fields
        if field.name != "updated_at"
    }


def _grant(connection: Connection) -> dict[str, Any]:
    names = ("pk", "issuer", "sub", "client_id", "scope", "state", "state_cause")
    return {name: getattr(connection, name) for name in names}


def _freshness(connections: tuple[Connection, ...]) -> list[dict[str, Any]]:
    names = ("resource", "synced_at", "attempted_at", "error")
    return [
        {"sub": connection.sub, **{name: _value(state, name) for name in names}}
        for connection in connections
        for state in connection.resources.order_by("resource")
    ]
