"""KYC reviews, one per person and per company, and the decisions on them, which are never edited."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_eprospera.errors import AuditError
from django_eprospera.fields import SealedJSONField, SealedModel, SealedQuerySet, SealedTextField
from django_eprospera.models.entity import LegalEntity

__all__ = ["Affiliation", "AppendOnlyQuerySet", "Decision", "Review"]


class AppendOnlyQuerySet(SealedQuerySet):
    """Queryset of rows that can be added and read, but not changed or deleted. Raises AuditError."""

    def update(self, **_: Any) -> NoReturn:
        raise AuditError(f"{self.model._meta.verbose_name_plural} are never edited. Add a new one.")

    def delete(self) -> NoReturn:
        raise AuditError(f"{self.model._meta.verbose_name_plural} are never deleted.")

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        self.update()

    def bulk_create(self, objs: Any, *args: Any, update_conflicts: bool = False, **kwargs: Any) -> list[Any]:
        if update_conflicts:
            self.update()
        return super().bulk_create(objs, *args, **kwargs)


class Review(models.Model):
    """KYC case of one person or one company, with its status."""

    class Subject(models.TextChoices):
        PERSON = "person", _("person")
        ENTITY = "entity", _("company")

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting for data")
        PENDING = "pending", _("awaiting review")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject_kind = models.CharField(_("kind"), max_length=8, choices=Subject)
    # Remains when user, connection and entity are deleted: `person:<issuer>:<sub>` or `entity:<issuer>:<entity id>`.
    subject = models.CharField(_("subject"), max_length=600, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="eprospera_reviews"
    )
    entity = models.ForeignKey(LegalEntity, models.SET_NULL, null=True, blank=True, related_name="reviews")
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.WAITING)
    checks = models.JSONField(_("automatic checks"), default=list, help_text=_("Codes and outcomes, no personal data."))
    # Keyed digest of the facts that `checks` are about. Results of other facts are not used.
    checks_version = models.CharField(max_length=64, blank=True, editable=False)
    # When the calendar changes the result of a check: a birthday, the end of a residency, the age of an identity check.
    evaluate_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    opened_at = models.DateTimeField(_("opened"), auto_now_add=True)
    queued_at = models.DateTimeField(_("in the queue since"), null=True, blank=True)
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        verbose_name = _("KYC review")
        verbose_name_plural = _("KYC reviews")
        permissions = [
            ("view_personal_data", _("Can see unmasked personal data")),
            ("decide_review", _("Can decide reviews")),
            ("export_review", _("Can export case files")),
        ]
        indexes = [
            models.Index(
                fields=["queued_at", "id"], condition=models.Q(status="pending"), name="eprospera_review_queue"
            ),
            models.Index(
                fields=["subject_kind", "queued_at", "id"],
                condition=models.Q(status="pending"),
                name="eprospera_review_queues",
            ),
            models.Index(fields=["opened_at", "id"], name="eprospera_review_list"),
            models.Index(fields=["subject_kind", "opened_at", "id"], name="eprospera_review_kind"),
            models.Index(fields=["status", "opened_at", "id"], name="eprospera_review_status"),
            models.Index(fields=["subject_kind", "status", "opened_at", "id"], name="eprospera_review_both"),
        ]

    def __str__(self) -> str:
        return f"{self.get_subject_kind_display()} {str(self.pk)[:8]}"


class Affiliation(models.Model):
    """A user was connected as a person or shared a company. Kept when connection, consent and user are deleted."""

    # As in `Review.subject`. `person` is the subject of the person who shared a company, or the same as `subject`.
    subject = models.CharField(_("subject"), max_length=600, editable=False)
    person = models.CharField(max_length=600, db_index=True, editable=False)
    # The user's primary key as text: it stays when the user is deleted.
    user_ref = models.CharField(max_length=64, db_index=True, editable=False)

    class Meta:
        verbose_name = _("affiliation")
        verbose_name_plural = _("affiliations")
        constraints = [
            models.UniqueConstraint(fields=["subject", "person", "user_ref"], name="eprospera_affiliation_once")
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"


class Decision(SealedModel):
    """A reviewer's decision with its reason and evidence. Never edited or deleted: save and delete raise AuditError."""

    class Outcome(models.TextChoices):
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")
        REOPENED = "reopened", _("reopened")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    review = models.ForeignKey(Review, models.PROTECT, verbose_name=_("review"), related_name="decisions")
    outcome = models.CharField(_("decision"), max_length=16, choices=Outcome)
    # The key stays when the user is deleted: decisions never change.
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        db_constraint=False,
        null=True,
        verbose_name=_("reviewer"),
        related_name="+",
    )
    reviewer_name = SealedTextField(
        _("reviewer"), label="decision.reviewer_name", help_text=_("At the time of the decision.")
    )
    reason = SealedTextField(_("reason"), label="decision.reason")
    evidence = SealedJSONField(
        _("evidence"), label="decision.evidence", help_text=_("The facts at the time of the decision.")
    )
    # SHA-256 over outcome, reviewer, reason, evidence and time; also in the audit chain.
    digest = models.CharField(_("digest"), max_length=64, editable=False)
    decided_at = models.DateTimeField(_("decided"))

    objects = AppendOnlyQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ["-decided_at"]
        indexes = [
            models.Index(fields=["decided_at", "id"], name="eprospera_decision_list"),
            models.Index(fields=["outcome", "decided_at", "id"], name="eprospera_decision_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} {self.decided_at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditError("Decisions are never edited. Decide again: the newest decision counts.")
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AuditError("Decisions are never deleted.")
