"""A user's grant at e-Próspera with its tokens, which only the package `tokens` writes, and the age of each cached answer."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_eprospera.fields import SealedModel, SealedTextField

__all__ = ["Connection", "PendingRevocation", "ResourceState"]


class Connection(SealedModel):
    """One user's grant at e-Próspera (OAuth 2.0): identity, scopes, state, and encrypted tokens."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        REAUTHORIZE = "reauthorize", _("sign in again")

    class Cause(models.TextChoices):
        NONE = "", ""
        INVALID_GRANT = "invalid_grant", _("the provider no longer accepts the grant")
        ANSWER_LOST = "answer_lost", _("the answer that held the next refresh token was lost")
        NO_REFRESH_TOKEN = "no_refresh_token", _("the access ended, and no lasting access was granted")
        OTHER_SUBJECT = "other_subject", _("the provider answered for another person")

    # Written by `tokens` alone, so that saving an outdated copy never restores a spent token.
    TOKEN_FIELDS = (
        "access_token", "access_token_expires_at", "refresh_token", "refresh_token_expires_at", "generation",
        "state", "state_cause", "state_changed_at", "lease_holder", "lease_until", "refresh_sent_at",
        "refresh_not_before",
    )  # fmt: skip

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="eprospera", verbose_name=_("user")
    )
    issuer = models.CharField(_("issuer"), max_length=255, help_text=_("`iss` of the ID token."))
    sub = models.CharField(_("subject"), max_length=255, help_text=_("`sub` of the ID token: the person's opaque ID."))
    client_id = models.CharField(_("client ID"), max_length=255, help_text=_("The client that the tokens belong to."))
    scope = models.TextField(_("granted scopes"), blank=True, help_text=_("As the token answer named them."))
    auth_time = models.DateTimeField(_("signed in at the provider"), null=True, help_text=_("`auth_time`, or `iat`."))
    signed_in_at = models.DateTimeField(_("last sign-in"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    used_at = models.DateTimeField(_("last used"), null=True)
    # Several clicks or workers within a short time cause a single sync.
    sync_requested_at = models.DateTimeField(_("sync last asked for"), null=True, editable=False)
    # When `sync.schedule` has it synced next; null: there is nothing to request.
    next_sync_at = models.DateTimeField(_("next sync"), null=True, default=timezone.now, editable=False)
    # Claims since the last sync in which nothing failed.
    sync_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    sync_error = models.CharField(
        _("error after the last sync"),
        max_length=255,
        blank=True,
        editable=False,
        help_text=_("Receivers of `facts_synced` that failed, with the type of the error. The log has the details."),
    )

    access_token = SealedTextField(
        _("access token"), label="connection.access_token", secret=True, null=True, editable=False
    )
    access_token_expires_at = models.DateTimeField(_("access token expires"), null=True, editable=False)
    refresh_token = SealedTextField(
        _("refresh token"), label="connection.refresh_token", secret=True, null=True, editable=False
    )
    refresh_token_expires_at = models.DateTimeField(_("refresh token expires"), null=True, editable=False)
    generation = models.PositiveBigIntegerField(
        _("generation"), default=0, editable=False, help_text=_("Grows with every new pair of tokens.")
    )
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.ACTIVE, editable=False)
    state_cause = models.CharField(_("cause"), max_length=32, choices=Cause, default="", blank=True, editable=False)
    state_changed_at = models.DateTimeField(_("state changed"), null=True, editable=False)

    lease_holder = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    refresh_sent_at = models.DateTimeField(
        null=True, editable=False, help_text=_("A refresh was sent and its outcome is not known.")
    )
    refresh_not_before = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        permissions = [("view_status", _("Can see the status in numbers"))]
        constraints = [models.UniqueConstraint(fields=["issuer", "sub"], name="eprospera_connection_subject")]
        indexes = [
            models.Index(fields=["state", "refresh_token_expires_at"], name="eprospera_connection_state"),
            models.Index(
                fields=["issuer", "client_id", "next_sync_at"],
                condition=models.Q(state="active"),
                name="eprospera_connection_due",
            ),
            models.Index(fields=["access_token_expires_at"], name="eprospera_connection_expiry"),
            models.Index(fields=["signed_in_at", "id"], name="eprospera_connection_list"),
            models.Index(fields=["state", "signed_in_at", "id"], name="eprospera_connection_states"),
            models.Index(
                fields=["state_cause", "signed_in_at", "id"],
                condition=~models.Q(state_cause=""),
                name="eprospera_connection_causes",
            ),
            models.Index(
                fields=["signed_in_at", "id"], condition=~models.Q(sync_error=""), name="eprospera_connection_errors"
            ),
            models.Index(
                fields=["state_changed_at"], condition=models.Q(state="reauthorize"), name="eprospera_connection_ended"
            ),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {str(self.pk)[:8]} ({self.get_state_display()})"

    @property
    def scopes(self) -> frozenset[str]:
        """The granted scopes."""
        return frozenset(self.scope.split())

    def save(self, *args: Any, update_fields: Any = None, **kwargs: Any) -> None:
        if not self._state.adding and update_fields is None:
            update_fields = [
                field.name
                for field in self._meta.concrete_fields
                if field.name not in self.TOKEN_FIELDS and not field.primary_key
            ]
        super().save(*args, update_fields=update_fields, **kwargs)


class PendingRevocation(SealedModel):
    """A token to revoke at the provider (RFC 7009), stored until the provider has confirmed the revocation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    issuer = models.CharField(_("issuer"), max_length=255)
    client_id = models.CharField(_("client ID"), max_length=255)
    sub = models.CharField(_("subject"), max_length=255, blank=True)
    token = SealedTextField(label="revocation.token", secret=True)
    hint = models.CharField(_("kind"), max_length=16, help_text="`refresh_token` or `access_token`")
    held = models.BooleanField(
        _("held"),
        default=False,
        help_text=_(
            "Of a grant that a newer sign-in replaced: revoked when the connection ends, or when there are too many."
        ),
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    not_before = models.DateTimeField(_("not tried before"))

    class Meta:
        verbose_name = _("pending revocation")
        verbose_name_plural = _("pending revocations")
        indexes = [
            models.Index(fields=["held", "not_before"], name="eprospera_revocation_due"),
            models.Index(fields=["issuer", "sub"], name="eprospera_revocation_subject"),
            models.Index(fields=["created_at", "id"], name="eprospera_revocation_list"),
            models.Index(fields=["held", "created_at", "id"], name="eprospera_revocation_held"),
        ]

    def __str__(self) -> str:
        return f"{self.hint} since {self.created_at:%Y-%m-%d}"


class ResourceState(models.Model):
    """Age of one cached answer, and the error of the last attempt to update it."""

    class Resource(models.TextChoices):
        NATURAL_PERSON = "natural_person", _("personal details")
        RESIDENCY = "residency", _("residency")
        ID_VERIFICATION = "id_verification", _("identity check")
        LEGAL_ENTITIES = "legal_entities", _("companies")
        ENTITY_DOCUMENTS = "entity_documents", _("company documents")

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="resources")
    resource = models.CharField(max_length=32, choices=Resource)
    synced_at = models.DateTimeField(_("last good answer"), null=True)
    attempted_at = models.DateTimeField(_("last attempt"), null=True)
    error = models.CharField(_("why it is stale"), max_length=64, blank=True, help_text=_("A short stable code."))
    # Keyed, of the answer that is stored completely. An equal answer changes nothing.
    digest = models.CharField(max_length=64, blank=True, editable=False)

    class Meta:
        verbose_name = _("freshness")
        verbose_name_plural = _("freshness")
        constraints = [models.UniqueConstraint(fields=["connection", "resource"], name="eprospera_resource_once")]
        indexes = [
            models.Index(fields=["error"], condition=~models.Q(error=""), name="eprospera_resource_errors"),
        ]

    def __str__(self) -> str:
        return self.get_resource_display()
