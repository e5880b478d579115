"""Audit entries: an append-only chain, which only `audit` writes."""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_eprospera.errors import AuditError
from django_eprospera.models.kyc import AppendOnlyQuerySet

__all__ = ["AuditBlock", "AuditEntry"]


class AuditEntry(models.Model):
    """One event, authenticated together with all entries before it. Contains no personal data."""

    class Action(models.TextChoices):
        VIEWED = "viewed", _("looked at personal data")
        OPENED_FILE = "opened_file", _("opened a file")
        DECIDED = "decided", _("decided a review")
        REOPENED = "reopened", _("put a review back into the queue")
        EXPORTED = "exported", _("exported personal data")
        SEARCHED = "searched", _("searched personal data")
        DISCONNECTED = "disconnected", _("disconnected")
        ERASED = "erased", _("erased data")
        STORED = "stored", _("stored data")
        ANCHORED = "anchored", _("anchored the chain anew")

    position = models.PositiveBigIntegerField(_("position"), primary_key=True)
    at = models.DateTimeField(_("time"))
    action = models.CharField(_("action"), max_length=16, choices=Action)
    # The key stays when the user is deleted: entries never change. None: the site itself.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        verbose_name=_("actor"),
        related_name="+",
    )
    subject = models.CharField(_("subject"), max_length=600, help_text=_("Model and primary key."))
    before = models.PositiveBigIntegerField(
        _("entry before about the subject"), default=0, help_text=_("Its position; 0: none.")
    )
    detail = models.JSONField(_("detail"), default=dict, help_text=_("Names of fields and codes, never values."))
    rows = models.JSONField(
        _("rows"), default=list, help_text=_("Names and digests of rows that were written with the entry.")
    )
    previous = models.CharField(_("hash of the entry before"), max_length=64, help_text="SHA-256")
    digest = models.CharField(
        _("digest"), max_length=64, help_text=_("HMAC of all other columns; begins with its key.")
    )

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-position"]
        indexes = [
            models.Index(fields=["at", "position"], name="eprospera_audit_time"),
            models.Index(fields=["action", "at", "position"], name="eprospera_audit_action"),
            models.Index(fields=["subject", "at", "position"], name="eprospera_audit_subject"),
            models.Index(fields=["actor", "at", "position"], name="eprospera_audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.get_action_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditError("Audit entries are never edited.")
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AuditError("Audit entries are never deleted.")


class AuditBlock(models.Model):
    """Root of the Merkle tree over 1,024 audit entries. It can be computed again from them."""

    number = models.PositiveBigIntegerField(primary_key=True)
    root = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("block of the audit chain")
        verbose_name_plural = _("blocks of the audit chain")

    def __str__(self) -> str:
        return str(self.number)
