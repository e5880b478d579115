"""Models of the package, one module per subject. Import them from here."""

from __future__ import annotations

from django_eprospera.models.audit import AuditEntry
from django_eprospera.models.connection import Connection, PendingRevocation, ResourceState
from django_eprospera.models.entity import EntityConsent, EntityDocument, LegalEntity
from django_eprospera.models.kyc import Affiliation, Decision, Review
from django_eprospera.models.pace import Pace
from django_eprospera.models.person import IdVerification, NaturalPerson, Residency, VerificationImage

__all__ = [
    "Affiliation",
    "AuditEntry",
    "Connection",
    "Decision",
    "EntityConsent",
    "EntityDocument",
    "IdVerification",
    "LegalEntity",
    "NaturalPerson",
    "Pace",
    "PendingRevocation",
    "Residency",
    "ResourceState",
    "Review",
    "VerificationImage",
]
