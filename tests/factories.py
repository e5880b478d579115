"""Rows for tests: plain functions with defaults, saved through the models. Every argument is a field of the model."""

import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO

from django.contrib.auth import get_user_model
from django.utils import timezone
from PIL import Image, ImageDraw

from django_eprospera import documents, scopes
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

ALL_SCOPES = " ".join(scopes.LABELS)
_numbers = itertools.count(1)


def user(**fields):
    """A user of the site, with a username of their own."""
    username = fields.pop("username", f"user-{next(_numbers)}")
    return get_user_model().objects.create_user(username, **{"email": f"{username}@example.test", **fields})


def connection(user_=None, *, scopes=ALL_SCOPES, **fields):
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


def sandbox_connection(sandbox, sub, *, scopes=ALL_SCOPES, user_=None, entities=None, **fields):
    """A connection whose tokens the sandbox has really issued, for the persona `sub`."""
    options = {} if entities is None else {"entities": list(entities)}
    minted = sandbox.mint(sub, scopes, **options)[0]
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


def natural_person(connection_, **fields):
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


def residency(connection_, **fields):
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


def id_verification(connection_, *, pictures=("face", "document_front", "document_back"), **fields):
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


def picture(verification, *, kind="face", content=None, **fields):
    """One picture of an identity check. `content=b""`: a row whose file was never fetched."""
    row = VerificationImage.objects.create(verification=verification, kind=kind, **fields)
    content = png(kind) if content is None else content
    if content:
        documents.store(row, content)
    return row


def legal_entity(**fields):
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


def consent(connection_, entity=None, **fields):
    """`connection_` shares `entity` (a new one by default) now; with `withdrawn_at` it did."""
    return EntityConsent.objects.create(
        connection=connection_, entity=entity or legal_entity(), **{"shared_at": timezone.now(), **fields}
    )


def document(entity, *, content=None, **fields):
    """A company's document with a real, sealed PDF. `content=b""`: a row whose file was never fetched."""
    row = EntityDocument.objects.create(
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
    content = pdf() if content is None else content
    if content:
        documents.store(row, content)
    return row


def synced(connection_, at=None, **errors):
    """Mark every resource as synced `at` (now); `natural_person="scope_missing"` gives one an error."""
    for resource in ResourceState.Resource.values:
        moment = at or timezone.now()
        ResourceState.objects.update_or_create(
            connection=connection_,
            resource=resource,
            defaults={"synced_at": moment, "attempted_at": moment, "error": errors.get(resource, ""), "digest": "x"},
        )
    planned, _ = schedule.next_sync(connection_, connection_.resources.all(), at or timezone.now())
    Connection.objects.filter(pk=connection_.pk).update(next_sync_at=planned)


@cache
def png(text="picture", size=(320, 200), format_="PNG"):
    """The bytes of a real picture that says `text`."""
    image = Image.new("RGB", size, "#dfe8ee")
    ImageDraw.Draw(image).text((12, 12), f"SPECIMEN {text}", fill="#123")
    buffer = BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


def pdf(text="specimen"):
    """The bytes of a small PDF of one empty page; `text` goes into a comment, so that two differ."""
    return (
        f"%PDF-1.4\n% {text}\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n"
        "trailer<</Root 1 0 R>>\n%%EOF\n"
    ).encode()
