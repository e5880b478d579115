"""Companies (the provider's legal entities), the people who share them, and their documents."""

from __future__ import annotations

import uuid
from typing import ClassVar, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_eprospera.fields import (
    BlindIndexField,
    SealedDateField,
    SealedDateTimeField,
    SealedJSONField,
    SealedTextField,
    normalise_digits,
)
from django_eprospera.models.connection import Connection
from django_eprospera.models.facts import Fact, FactsModel
from django_eprospera.models.person import StoredFile

__all__ = ["EntityConsent", "EntityDocument", "LegalEntity"]

_COMPANY: Final = _("Company")
_DATES: Final = _("Dates")
_OFFICE: Final = _("Principal office")


class LegalEntity(FactsModel):
    """A company, which several people may share: `me/legal-entities/{id}`."""

    FACTS: ClassVar = (
        Fact("name", _COMPANY, identifies=True),
        Fact("extension", _COMPANY, identifies=True),
        Fact("name_starts_with_extension", identifies=True),
        Fact("type", _COMPANY, identifies=True),
        Fact("option_id", _COMPANY, identifies=True, for_review=False),
        Fact("entity_id", _COMPANY, identifies=True, for_review=False, source="id"),
        Fact("resident_permit_number", _COMPANY, identifies=True),
        Fact("formation_date", _DATES, identifies=True),
        Fact("registration_date", _DATES, identifies=True),
        Fact("dissolution_date", _DATES, identifies=True),
        Fact("created_at", _DATES, for_review=False),
        Fact("principal_office_address", _OFFICE),
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    issuer = models.CharField(max_length=255)
    entity_id = models.UUIDField(_("entity ID"), help_text=_("`id` at the provider."))
    option_id = models.CharField(_("option"), max_length=64, blank=True, help_text=_("`optionId`, e.g. llc."))
    type = models.CharField(_("type"), max_length=255, blank=True)
    name = SealedTextField(_("name"), label="entity.name")
    extension = SealedTextField(_("extension"), label="entity.extension", null=True)
    name_starts_with_extension = models.BooleanField(default=False)
    resident_permit_number = SealedTextField(_("resident permit number"), label="entity.rpn", null=True)
    rpn_index = BlindIndexField(source="resident_permit_number", label="entity.rpn", normalise=normalise_digits)
    formation_date = SealedDateField(_("formed"), label="entity.formation_date", null=True)
    registration_date = SealedDateField(_("registered"), label="entity.registration_date", null=True)
    dissolution_date = SealedDateField(_("dissolved"), label="entity.dissolution_date", null=True)
    principal_office_address = SealedJSONField(_("principal office"), label="entity.address", null=True)
    created_at = SealedDateTimeField(_("created at the provider"), label="entity.created_at", null=True)
    updated_at = models.DateTimeField(_("last good answer"), auto_now=True)

    class Meta:
        verbose_name = _("legal entity")
        verbose_name_plural = _("legal entities")
        constraints = [models.UniqueConstraint(fields=["issuer", "entity_id"], name="eprospera_entity_once")]
        indexes = [
            models.Index(fields=["updated_at", "id"], name="eprospera_entity_list"),
            models.Index(fields=["type", "updated_at", "id"], name="eprospera_entity_types"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.entity_id}"

    @property
    def display_name(self) -> str:
        """Name and extension, in the order that the company uses (docs/provider.md#me-answers)."""
        parts = [self.extension, self.name] if self.name_starts_with_extension else [self.name, self.extension]
        return " ".join(part for part in parts if part)


class EntityConsent(models.Model):
    """A person's consent to share a company. Withdrawal stops its use at once; `prune` erases the data later."""

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="entity_consents")
    entity = models.ForeignKey(LegalEntity, models.CASCADE, related_name="consents")
    shared_at = models.DateTimeField(_("shared"))
    withdrawn_at = models.DateTimeField(_("no longer shared"), null=True, blank=True)

    class Meta:
        verbose_name = _("consent to a company")
        verbose_name_plural = _("consents to companies")
        constraints = [models.UniqueConstraint(fields=["connection", "entity"], name="eprospera_consent_once")]

    def __str__(self) -> str:
        return f"{self.entity} – {self.connection}"


class EntityDocument(StoredFile, FactsModel):
    """A document of a company, with its file: `me/legal-entities/{id}/documents`."""

    FACTS: ClassVar = (
        Fact("document_id", source="id"),
        Fact("name"),
        Fact("slug"),
        Fact("version"),
        Fact("created_at"),
    )

    entity = models.ForeignKey(LegalEntity, models.CASCADE, related_name="documents")
    document_id = models.UUIDField(_("document ID"))
    name = SealedTextField(_("name"), label="document.name", null=True)
    slug = models.CharField(_("slug"), max_length=255, blank=True)
    version = models.CharField(_("version"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at the provider"), null=True)

    class Meta:
        verbose_name = _("company document")
        verbose_name_plural = _("company documents")
        constraints = [models.UniqueConstraint(fields=["entity", "document_id"], name="eprospera_document_once")]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.document_id}"
