"""Typed answers of the provider: frozen dataclasses read from JSON. No Django.

Tolerant of every form in docs/provider.md#variants: either form of dates, long words for sex, numbers for versions,
absent keys for nulls. Every reader raises MalformedAnswer and nothing else. The facts are a person's data: their `repr`
shows none of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_eprospera.provider.reader import Reader

if TYPE_CHECKING:
    import uuid
    from datetime import date, datetime

__all__ = [
    "ActiveResidency",
    "Address",
    "EntityDocument",
    "IdVerification",
    "LegalEntity",
    "NaturalPerson",
    "Residency",
    "Userinfo",
]

_SEX = {"male": "M", "female": "F"}


class _Masked:
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: masked>"


@dataclass(frozen=True, slots=True, repr=False)
class Address(_Masked):
    """Where a person lives or an entity has its office."""

    line1: str | None
    line2: str | None
    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None

    @classmethod
    def read(cls, reader: Reader | None) -> Address | None:
        """None for null."""
        if reader is None:
            return None
        text = reader.text
        return cls(text("line1"), text("line2"), text("city"), text("state"), text("postalCode"), text("country"))


@dataclass(frozen=True, slots=True, repr=False)
class NaturalPerson(_Masked):
    """`me/natural-person`."""

    name: str | None
    given_name: str | None
    surname: str | None
    resident_permit_number: str | None
    country_of_birth: str | None
    citizenships: tuple[str, ...]
    date_of_birth: date | None
    sex: str | None
    address: Address | None
    phone_number: str | None

    @classmethod
    def from_json(cls, value: Any) -> NaturalPerson | None:
        """None for null, which the provider sends for an account without a usable resident record."""
        if value is None:
            return None
        reader = Reader(value, "NaturalPerson")
        sex = reader.text("sex")
        return cls(
            name=reader.text("name"),
            given_name=reader.text("givenName"),
            surname=reader.text("surname"),
            resident_permit_number=reader.text("residentPermitNumber"),
            country_of_birth=reader.text("countryOfBirth"),
            citizenships=reader.texts("citizenships"),
            date_of_birth=reader.calendar_date("dateOfBirth"),
            sex=_SEX.get(sex.lower(), sex) if sex else sex,
            address=Address.read(reader.object("address")),
            phone_number=reader.text("phoneNumber"),
        )

    @property
    def has_well_formed_permit_number(self) -> bool:
        """Whether it is fourteen digits (docs/provider.md#formats). It is stored as sent either way."""
        return _is_permit_number(self.resident_permit_number)


@dataclass(frozen=True, slots=True, repr=False)
class ActiveResidency(_Masked):
    """A residency that was not ended when the provider answered; `termination_date` may be in the future."""

    effective_date: datetime | None
    termination_date: datetime | None
    residency_type: str | None
    version: str | None

    @classmethod
    def read(cls, reader: Reader | None) -> ActiveResidency | None:
        """None for null."""
        if reader is None:
            return None
        return cls(
            effective_date=reader.moment("effectiveDate"),
            termination_date=reader.moment("terminationDate"),
            residency_type=reader.text("residencyType"),
            version=reader.text_or_number("version"),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Residency(_Masked):
    """`me/natural-person/residency`."""

    was_ever_resident: bool
    active: ActiveResidency | None

    @classmethod
    def from_json(cls, value: Any) -> Residency | None:
        """None for null."""
        if value is None:
            return None
        reader = Reader(value, "Residency")
        return cls(reader.required_flag("wasEverResident"), ActiveResidency.read(reader.object("activeResidency")))


@dataclass(frozen=True, slots=True, repr=False)
class IdVerification(_Masked):
    """`me/natural-person/id-verification`. The URLs are signed and work without a token: they are secrets for an hour."""

    id: str | None
    kind: str | None
    document_type: str | None
    date: datetime | None
    status: str | None
    document_front_url: str | None
    document_back_url: str | None
    face_url: str | None

    @classmethod
    def from_json(cls, value: Any) -> IdVerification | None:
        """None where there is no check on file: null, or an object whose every leaf is null."""
        if value is None:
            return None
        reader = Reader(value, "IdVerification")
        images = reader.object("documents") or Reader({}, "IdVerification")
        facts = (
            reader.text("id"),
            reader.text("type"),
            reader.text("documentType"),
            reader.moment("date"),
            reader.text("status"),
            images.text("documentFront", _MAX_URL),
            images.text("documentBack", _MAX_URL),
            images.text("face", _MAX_URL),
        )
        return cls(*facts) if any(fact is not None for fact in facts) else None


@dataclass(frozen=True, slots=True, repr=False)
class LegalEntity(_Masked):
    """`me/legal-entities` and `me/legal-entities/{id}`; the list leaves the dates and the address out."""

    id: uuid.UUID
    option_id: str | None
    type: str | None
    name: str
    extension: str | None
    name_starts_with_extension: bool
    resident_permit_number: str | None
    formation_date: date | None
    registration_date: date | None
    dissolution_date: date | None
    principal_office_address: Address | None
    created_at: datetime | None

    @classmethod
    def read(cls, reader: Reader) -> LegalEntity:
        """One entity."""
        return cls(
            id=reader.uuid("id"),
            option_id=reader.text("optionId", 64),
            type=reader.text("type", 255),
            name=reader.required_text("name"),
            extension=reader.text("extension"),
            name_starts_with_extension=reader.flag("nameStartsWithExtension") or False,
            resident_permit_number=reader.text("residentPermitNumber"),
            formation_date=reader.calendar_date("formationDate"),
            registration_date=reader.calendar_date("registrationDate"),
            dissolution_date=reader.calendar_date("dissolutionDate"),
            principal_office_address=Address.read(reader.object("principalOfficeAddress")),
            created_at=reader.moment("createdAt"),
        )

    @classmethod
    def from_json(cls, value: Any) -> LegalEntity:
        """The answer `{"data": {…}}`."""
        data = Reader(value, "LegalEntity").object("data")
        return cls.read(data if data is not None else Reader(None, "LegalEntity", "data"))

    @classmethod
    def list_from_json(cls, value: Any) -> tuple[LegalEntity, ...]:
        """The answer `{"data": [{…}]}`; empty when nothing is shared."""
        return Reader(value, "LegalEntity").objects("data", cls.read)

    @property
    def display_name(self) -> str:
        """Name and extension in the order in which the entity writes them."""
        parts = [self.extension, self.name] if self.name_starts_with_extension else [self.name, self.extension]
        return " ".join(part for part in parts if part)

    @property
    def has_well_formed_permit_number(self) -> bool:
        """Fourteen digits (docs/provider.md#formats)."""
        return _is_permit_number(self.resident_permit_number)


@dataclass(frozen=True, slots=True, repr=False)
class EntityDocument(_Masked):
    """`me/legal-entities/{id}/documents`. `file_url` may be signed: a secret."""

    id: uuid.UUID
    name: str | None
    slug: str | None
    version: str | None
    file_url: str | None
    created_at: datetime | None

    @classmethod
    def read(cls, reader: Reader) -> EntityDocument:
        """One document."""
        return cls(
            id=reader.uuid("id"),
            name=reader.text("name"),
            slug=reader.text("slug", 255),
            version=reader.text_or_number("version", 64),
            file_url=reader.text("fileUrl", _MAX_URL),
            created_at=reader.moment("createdAt"),
        )

    @classmethod
    def list_from_json(cls, value: Any) -> tuple[EntityDocument, ...]:
        """The answer `{"data": [{…}]}`."""
        return Reader(value, "EntityDocument").objects("data", cls.read)


@dataclass(frozen=True, slots=True, repr=False)
class Userinfo(_Masked):
    """The OIDC claims of the user. Only `sub` identifies an account."""

    sub: str
    name: str | None
    given_name: str | None
    family_name: str | None
    picture: str | None
    email: str | None
    email_verified: bool

    @classmethod
    def from_json(cls, value: Any) -> Userinfo:
        """Return the claims that the scopes allow; only `sub` is required."""
        reader = Reader(value, "Userinfo")
        return cls(
            sub=reader.required_text("sub", 255),
            name=reader.text("name"),
            given_name=reader.text("given_name"),
            family_name=reader.text("family_name"),
            picture=reader.text("picture", _MAX_URL),
            email=reader.text("email"),
            email_verified=reader.flag("email_verified") or False,
        )


# Signed URLs are longer than a person's words.
_MAX_URL = 8192


def _is_permit_number(value: str | None) -> bool:
    return value is not None and re.fullmatch(r"[0-9]{14}", value) is not None
