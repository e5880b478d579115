"""Content of the account page, read from the local cache, with numbers masked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from django_eprospera import access, kyc, scopes
from django_eprospera.consent import is_granted, readable_documents, readable_entities
from django_eprospera.errors import SealedValueError
from django_eprospera.freshness import freshness, is_on_its_way
from django_eprospera.models import ResourceState
from django_eprospera.wording import in_words, visible

if TYPE_CHECKING:
    from datetime import date

    from django_eprospera.freshness import Freshness
    from django_eprospera.models import Connection, IdVerification, LegalEntity, NaturalPerson, Residency

__all__ = ["Account", "Company", "Link", "Row", "account_of"]

_RESOURCE = ResourceState.Resource


@dataclass(frozen=True)
class Row:
    """A label and a value."""

    label: str
    value: str


@dataclass(frozen=True)
class Link:
    """A picture or document; `url` is empty when there is no file. A picture has a thumbnail too."""

    label: str
    url: str
    thumbnail_url: str = ""


@dataclass(frozen=True)
class Company:
    """A company that the user shares."""

    name: str
    rows: list[Row]
    documents: list[Link]


@dataclass
class Account:
    """Everything that the page shows."""

    name: str
    email: str
    initials: str
    connection: Connection | None = None
    face: str = ""
    on_its_way: bool = False
    ended: str = ""
    person: list[Row] = field(default_factory=list)
    residency: list[Row] = field(default_factory=list)
    residency_active: bool | None = None
    verification: list[Row] = field(default_factory=list)
    images: list[Link] = field(default_factory=list)
    companies: list[Company] = field(default_factory=list)
    freshness: list[Freshness] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    access_until: datetime | None = None
    session_until: datetime | None = None
    kyc: str = ""
    kyc_reason: str = ""
    unreadable: bool = False


def account_of(user: Any) -> Account:
    """Return what is cached about `user`. Sends no request."""
    name = user.get_full_name() or user.get_username()
    account = Account(
        name=visible(name), email=user.email, initials="".join(word[0] for word in name.split()[:2]).upper()
    )
    connection: Connection | None = _related(user, "eprospera")
    if connection is None:
        return account
    account.connection = connection
    account.on_its_way = is_on_its_way(connection)
    if not (answer := access.connection(user)).allowed:
        account.ended = answer.message
    elif connection.state != connection.State.ACTIVE:
        account.ended = _("We can no longer fetch your data from e-Próspera.")
    account.freshness = freshness(connection)
    account.access_until = connection.refresh_token_expires_at
    account.session_until = connection.access_token_expires_at
    account.scopes = [str(label) for scope, label in scopes.LABELS.items() if scope in connection.scopes]
    _fill(account, connection, user)
    review = kyc.status_for(user)
    account.kyc = access.kyc(user).message
    # This site tells people the reviewer's reason.
    if review and review.status == review.Status.REJECTED and (decision := review.decisions.first()):
        account.kyc_reason = decision.reason
    return account


def _fill(account: Account, connection: Connection, user: Any) -> None:
    """Read what the granted scopes allow. A value that cannot be decrypted ends the reading and sets `unreadable`."""
    try:
        if is_granted(connection, _RESOURCE.NATURAL_PERSON) and (person := _related(connection, "natural_person")):
            account.person = _person(person)
        if is_granted(connection, _RESOURCE.RESIDENCY) and (residency := _related(connection, "residency")):
            account.residency = _residency(residency)
            account.residency_active = residency.is_active
        if is_granted(connection, _RESOURCE.ID_VERIFICATION) and (check := _related(connection, "id_verification")):
            account.verification = _verification(check)
            images = [image for image in check.images.all() if image.storage_name]
            account.images = [
                Link(image.get_kind_display(), _url("image", image), _url("thumbnail", image)) for image in images
            ]
            account.face = next((_url("thumbnail", image) for image in images if image.kind == image.Kind.FACE), "")
        companies = [_company(user, entity) for entity in readable_entities(user)]
        account.companies = sorted(companies, key=lambda company: company.name.casefold())
    except SealedValueError:
        account.unreadable = True


def _related(row: Any, name: str) -> Any:
    try:
        return getattr(row, name)
    except ObjectDoesNotExist:
        return None


def _url(view: str, file: Any) -> str:
    return reverse(f"eprospera:{view}", args=[file.pk])


def _person(person: NaturalPerson) -> list[Row]:
    address = person.address or {}
    lines = [address.get(key) for key in ("line1", "line2", "city", "state", "postal_code", "country")]
    return _rows(
        (_("Given name"), person.given_name),
        (_("Surname"), person.surname),
        (_("Permit number"), _masked(person.resident_permit_number)),
        (_("Born"), _day(person.date_of_birth)),
        (_("Country of birth"), person.country_of_birth),
        (_("Citizenships"), ", ".join(person.citizenships or [])),
        (_("Sex"), in_words("sex", person.sex)),
        (_("Address"), ", ".join(line for line in lines if line)),
        (_("Phone"), _masked(person.phone_number)),
    )


def _residency(residency: Residency) -> list[Row]:
    return _rows(
        (_("Kind"), in_words("residency_type", residency.residency_type)),
        (_("Since"), _day(residency.effective_date)),
        (_("Until"), _day(residency.termination_date)),
        (_("Agreement of Coexistence"), residency.version),
        (_("Ever a resident"), _("yes") if residency.was_ever_resident else _("no")),
    )


def _verification(verification: IdVerification) -> list[Row]:
    return _rows(
        (_("Document"), in_words("document_type", verification.document_type)),
        (_("Status"), in_words("status", verification.status)),
        (_("Checked"), _day(verification.date)),
    )


def _company(user: Any, entity: LegalEntity) -> Company:
    rows = _rows(
        (_("Type"), in_words("type", entity.type)),
        (_("Permit number"), _masked(entity.resident_permit_number)),
        (_("Formed"), _day(entity.formation_date)),
        (_("Registered"), _day(entity.registration_date)),
        (_("Dissolved"), _day(entity.dissolution_date)),
    )
    documents = [
        Link(visible(document.name or _("Document")), _url("document", document) if document.storage_name else "")
        for document in readable_documents(user, entity)
    ]
    return Company(visible(entity.display_name), rows, documents)


def _rows(*pairs: tuple[str, str | None]) -> list[Row]:
    return [Row(label, visible(value)) for label, value in pairs if value]


def _masked(text: str | None) -> str:
    return "•" * (len(text) - 4) + text[-4:] if text and len(text) > 4 else ""


def _day(value: date | None) -> str:
    if value is None:
        return ""
    # The provider's days are midnights in UTC: in another zone they would be the day before.
    return date_format(value.astimezone(UTC) if isinstance(value, datetime) else value)
