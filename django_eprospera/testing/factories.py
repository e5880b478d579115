"""Rows for tests: plain functions with defaults, saved through the models. Every argument is a field of the model."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.contrib.auth import get_user_model
from django.utils import timezone
from PIL import Image, ImageDraw

from django_eprospera import documents
from django_eprospera import scopes as scope_names
from django_eprospera.conf import conf
from django_eprospera.models import (
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
from django_eprospera.sync import schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_eprospera.testing.sandbox import Sandbox

__all__ = [
    "ALL_SCOPES", "connection", "consent", "document", "id_verification", "legal_entity", "natural_person", "pdf", "picture",
    "png", "residency", "sandbox_connection", "synced", "user",
]  # fmt: skip

ALL_SCOPES: Final = " ".join(scope_names.LABELS)
F = TypeVar("F", VerificationImage, EntityDocument)
_numbers = itertools.count(1)


def user(**fields: Any) -> Any:
    """A user of the site, with a username of their own."""
    username = fields.pop("username", f"user-{next(_numbers)}")
    return get_user_model().objects.create_user(username, **{"email": f"{username}@example.test", **fields})


def connection(user_: Any = None, *, scopes: str | Iterable[str] = ALL_SCOPES, **fields: Any) -> Connection:
    """A user's connection with tokens that are valid for an hour; `scopes` is text or a list."""
    now = timezone.now()
    row = Connection(
        **{
            "user": user_ or user(),
            "issuer": conf.EPROSPERA_BASE_URL,
            "sub": str(uuid.uuid4()),
            "client_id": conf.client_id,
            "scope": scopes if isinstance(scopes, str) else " ".join(scopes),
            "auth_time": now,
            "signed_in_at": now,
            "access_token": f"at-{uuid.uuid4()}",
            "access_token_expires_at": now + timedelta(hours=1),
            "refresh_token": f"rt_{uuid.uuid4()}",
            "refresh_token_expires_at": now + timedelta(days=180),
            **fields,
        }
    )
    row.save()
    return row


def sandbox_connection(
    sandbox: Sandbox, sub: str, *, scopes: str = ALL_SCOPES, user_: Any = None, entities: Iterable[str] | None = None,
    **fields: Any,
) -> Connection:  # fmt: skip
    """A connection whose tokens the sandbox has really issued, for the persona `sub`."""
    shared = {} if entities is None else {"entities": list(entities)}
    minted = sandbox.mint(sub, scopes, **shared)[0]
    return connection(
        user_,
        scopes=scopes,
        sub=sub,
        issuer=sandbox.url,
        access_token=minted["access_token"],
        refresh_token=minted.get("refresh_token"),
        client_id=sandbox.client_id,
        **fields,
    )


def natural_person(connection_: Connection, **fields: Any) -> NaturalPerson:
    """Cached personal details, every field filled."""
    return NaturalPerson.objects.create(
        connection=connection_,
        **{
            "name": "Ada Example",
            "given_name": "Ada",
            "surname": "Example",
            "resident_permit_number": "90000000004217",
            "date_of_birth": date(1990, 5, 17),
            "country_of_birth": "Honduras",
            "citizenships": ["Honduras"],
            "sex": "F",
            "address": {
                "line1": "1 Example Street", "line2": None, "city": "Roatán", "state": None, "postal_code": "34101",
                "country": "Honduras",
            },
            "phone_number": "+504 0000 0000",
            **fields,
        },
    )  # fmt: skip


def residency(connection_: Connection, **fields: Any) -> Residency:
    """A cached residency that runs without an end. `residency_type=None`: none now."""
    return Residency.objects.create(
        connection=connection_,
        **{
            "was_ever_resident": True,
            "effective_date": datetime(2024, 3, 15, tzinfo=UTC),
            "termination_date": None,
            "residency_type": "Resident",
            "version": "v08.29.2024",
            **fields,
        },
    )


def id_verification(
    connection_: Connection, *, pictures: Iterable[str] = ("face", "document_front", "document_back"), **fields: Any
) -> IdVerification:
    """A cached identity check with real, sealed pictures of the kinds in `pictures`."""
    row = IdVerification.objects.create(
        connection=connection_,
        **{
            "verification_id": str(uuid.uuid4()),
            "kind": "veriff",
            "document_type": "national_id",
            "status": "approved",
            "date": timezone.now() - timedelta(days=30),
            **fields,
        },
    )
    for kind in pictures:
        picture(row, kind=kind)
    return row


def picture(
    verification: IdVerification, *, kind: str = "face", content: bytes | None = None, **fields: Any
) -> VerificationImage:
    """One picture of an identity check. `content=b""`: a row whose file was never fetched."""
    row = VerificationImage(verification=verification, kind=kind, **fields)
    return _with_file(row, png(kind) if content is None else content)


def legal_entity(**fields: Any) -> LegalEntity:
    """A company that nobody shares yet."""
    return LegalEntity.objects.create(
        **{
            "issuer": conf.EPROSPERA_BASE_URL,
            "entity_id": uuid.uuid4(),
            "option_id": "llc",
            "type": "Limited Liability Company",
            "name": "Example Kites",
            "extension": "LLC",
            "resident_permit_number": "80000000001234",
            "formation_date": date(2023, 1, 9),
            "registration_date": date(2023, 1, 10),
            **fields,
        }
    )


def consent(connection_: Connection, entity: LegalEntity | None = None, **fields: Any) -> EntityConsent:
    """`connection_` shares `entity` (a new one by default) now; with `withdrawn_at` it did."""
    return EntityConsent.objects.create(
        connection=connection_, entity=entity or legal_entity(), **{"shared_at": timezone.now(), **fields}
    )


def document(entity: LegalEntity, *, content: bytes | None = None, **fields: Any) -> EntityDocument:
    """A company's document with a real, sealed PDF. `content=b""`: a row whose file was never fetched."""
    row = EntityDocument(
        entity=entity,
        **{
            "document_id": uuid.uuid4(),
            "name": "Certificate of Organization",
            "slug": "certificate-of-organization",
            "version": "1",
            "created_at": timezone.now() - timedelta(days=10),
            **fields,
        },
    )
    return _with_file(row, pdf() if content is None else content)


def _with_file(row: F, content: bytes) -> F:
    for name, value in (documents.seal(row, content) if content else {}).items():
        setattr(row, name, value)
    row.save(force_insert=True)
    return row


def synced(
    connection_: Connection,
    at: datetime | None = None,
    *,
    resources: Iterable[str] = ResourceState.Resource.values,
    **errors: str,
) -> None:
    """Mark the resources as synced `at` (now); `natural_person="scope_missing"` gives one an error."""
    moment = at or timezone.now()
    states = [
        ResourceState(
            connection=connection_, resource=resource, synced_at=moment, attempted_at=moment, error=errors.get(resource, ""),
            digest="x",
        )
        for resource in resources
    ]  # fmt: skip
    names = [field.name for field in ResourceState._meta.fields if field.name not in ("id", "connection", "resource")]
    ResourceState.objects.bulk_create(
        states, update_conflicts=True, update_fields=names, unique_fields=["connection", "resource"]
    )
    connection_.next_sync_at, _ = schedule.next_sync(connection_, states, moment)
    Connection.objects.filter(pk=connection_.pk).update(next_sync_at=connection_.next_sync_at)


@cache
def png(text: str = "picture", size: tuple[int, int] = (320, 200), format_: str = "PNG") -> bytes:
    """The bytes of a real picture that says `text`."""
    image = Image.new("RGB", size, "#dfe8ee")
    ImageDraw.Draw(image).text((12, 12), f"SPECIMEN {text}", fill="#123")
    buffer = BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


def pdf(text: str = "specimen") -> bytes:
    """The bytes of a small PDF of one empty page; `text` goes into a comment, so that two differ."""
    return (
        f"%PDF-1.4\n% {text}\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n"
        "trailer<</Root 1 0 R>>\n%%EOF\n"
    ).encode()
