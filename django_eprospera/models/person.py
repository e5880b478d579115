"""Facts about a person, encrypted: personal details, residency, identity check with its pictures."""

from __future__ import annotations

import uuid
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_eprospera.fields import (
    BlindIndexField,
    SealedDateField,
    SealedDateTimeField,
    SealedJSONField,
    SealedModel,
    SealedTextField,
    normalise_digits,
)
from django_eprospera.models.connection import Connection
from django_eprospera.models.facts import Fact, FactsModel

__all__ = ["IdVerification", "NaturalPerson", "Residency", "StoredFile", "VerificationImage"]

_PERSON: Final = _("Person")
_PERMIT: Final = _("Permit and contact")
_RESIDENCY: Final = _("Residency")
_CHECK: Final = _("Identity check")


class NaturalPerson(FactsModel):
    """Personal details: `me/natural-person`."""

    FACTS: ClassVar = (
        Fact("name", _PERSON, identifies=True),
        Fact("given_name", _PERSON, identifies=True),
        Fact("surname", _PERSON, identifies=True),
        Fact("date_of_birth", _PERSON, identifies=True),
        Fact("sex", _PERSON, identifies=True),
        Fact("country_of_birth", _PERSON, identifies=True),
        Fact("citizenships", _PERSON, identifies=True),
        Fact("resident_permit_number", _PERMIT, identifies=True),
        Fact("phone_number", _PERMIT),
        Fact("address", _PERMIT),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.OneToOneField(Connection, models.CASCADE, related_name="natural_person")
    name = SealedTextField(_("name"), label="person.name", null=True)
    given_name = SealedTextField(_("given name"), label="person.given_name", null=True)
    surname = SealedTextField(_("surname"), label="person.surname", null=True)
    resident_permit_number = SealedTextField(_("resident permit number"), label="person.rpn", null=True)
    rpn_index = BlindIndexField(source="resident_permit_number", label="person.rpn", normalise=normalise_digits)
    date_of_birth = SealedDateField(_("date of birth"), label="person.date_of_birth", null=True)
    country_of_birth = SealedTextField(_("country of birth"), label="person.country_of_birth", null=True)
    citizenships = SealedJSONField(_("citizenships"), label="person.citizenships", null=True, help_text=_("A list."))
    sex = SealedTextField(_("sex"), label="person.sex", null=True)
    address = SealedJSONField(_("address"), label="person.address", null=True)
    phone_number = SealedTextField(_("phone number"), label="person.phone_number", null=True)

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("persons")

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


class Residency(FactsModel):
    """Present and past residency: `me/natural-person/residency`."""

    FACTS: ClassVar = (
        Fact("residency_type", _RESIDENCY, source="active.residency_type"),
        Fact("effective_date", _RESIDENCY, source="active.effective_date"),
        Fact("termination_date", _RESIDENCY, source="active.termination_date"),
        Fact("was_ever_resident", _RESIDENCY),
        Fact("version", _RESIDENCY, source="active.version"),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.OneToOneField(Connection, models.CASCADE, related_name="residency")
    was_ever_resident = SealedJSONField(_("was ever a resident"), label="residency.was_ever_resident")
    # These are null if there is no residency now.
    effective_date = SealedDateTimeField(_("since"), label="residency.effective_date", null=True)
    termination_date = SealedDateTimeField(_("until"), label="residency.termination_date", null=True)
    residency_type = SealedTextField(_("type"), label="residency.residency_type", null=True)
    version = SealedTextField(_("version of the agreement"), label="residency.version", null=True)

    class Meta:
        verbose_name = _("residency")
        verbose_name_plural = _("residencies")

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def is_active(self) -> bool:
        """Whether there is a residency that has not ended (docs/provider.md#me-answers)."""
        if self.residency_type is None:
            return False
        ends = self.termination_date
        return ends is None or ends > timezone.now()


class IdVerification(FactsModel):
    """The latest approved identity check: `me/natural-person/id-verification`."""

    FACTS: ClassVar = (
        Fact("document_type", _CHECK, identifies=True),
        Fact("status", _CHECK, identifies=True),
        Fact("date", _CHECK),
        Fact("kind", _CHECK, identifies=True),
        Fact("verification_id", _CHECK, identifies=True, for_review=False, source="id"),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.OneToOneField(Connection, models.CASCADE, related_name="id_verification")
    verification_id = SealedTextField(_("check ID"), label="verification.verification_id")
    kind = SealedTextField(_("method"), label="verification.kind", null=True)
    document_type = SealedTextField(_("document type"), label="verification.document_type", null=True)
    status = SealedTextField(_("status"), label="verification.status", null=True)
    date = SealedDateTimeField(_("checked"), label="verification.date", null=True)

    class Meta:
        verbose_name = _("identity check")
        verbose_name_plural = _("identity checks")

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


class StoredFile(SealedModel):
    """A file of the provider, encrypted in the storage. Only the module `documents` writes and reads it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    storage_name = models.CharField(max_length=255, blank=True, editable=False)
    key_id = models.CharField(max_length=8, blank=True, db_index=True, editable=False)
    content_type = models.CharField(_("content type"), max_length=64, blank=True)
    size = models.PositiveBigIntegerField(_("size in bytes"), default=0)
    digest = SealedTextField(_("SHA-256"), label="file.digest", null=True)
    fetched_at = models.DateTimeField(_("fetched"), null=True)
    error = models.CharField(_("why it is missing"), max_length=64, blank=True, help_text=_("A short stable code."))

    class Meta:
        abstract = True


class VerificationImage(StoredFile):
    """One picture of an identity check."""

    class Kind(models.TextChoices):
        FACE = "face", _("selfie")
        DOCUMENT_FRONT = "document_front", _("document, front")
        DOCUMENT_BACK = "document_back", _("document, back")

    verification = models.ForeignKey(IdVerification, models.CASCADE, related_name="images")
    kind = models.CharField(_("picture"), max_length=16, choices=Kind)

    class Meta:
        verbose_name = _("picture")
        verbose_name_plural = _("pictures")
        constraints = [models.UniqueConstraint(fields=["verification", "kind"], name="eprospera_image_once")]

    def __str__(self) -> str:
        return self.get_kind_display()
