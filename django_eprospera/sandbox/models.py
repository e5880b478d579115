"""What does a sandbox remember between two requests? Accounts, grants, tokens (as checksums), what was shared.

Tokens and codes build on django-oauth-toolkit's abstract models and gain the grant that they belong to, so that one row says
whether all of them are still good.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, ClassVar

from django.db import models
from oauth2_provider.models import AbstractAccessToken, AbstractGrant, AbstractRefreshToken, Application

__all__ = ["AccessToken", "Account", "Application", "Code", "Consent", "RefreshToken", "Share", "checksum"]


def checksum(token: str) -> str:
    """What is stored in place of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Account(models.Model):
    """One persona's account at the portal, and what was changed about it through the control API."""

    objects: ClassVar[models.Manager[Account]] = models.Manager()

    sub = models.UUIDField(primary_key=True)
    changes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    ended_entities: models.JSONField[Any, Any] = models.JSONField(default=list)

    # What django-oauth-toolkit and Django's request handling ask of a user model.
    is_active = True
    is_anonymous = False
    is_authenticated = True
    USERNAME_FIELD = "sub"
    REQUIRED_FIELDS: list[str] = []

    def __str__(self) -> str:
        return str(self.pk)


class Consent(models.Model):
    """One authorization by one person for one client: the grant that codes and tokens hang on."""

    objects: ClassVar[models.Manager[Consent]] = models.Manager()

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    account = models.ForeignKey(Account, models.CASCADE)
    application = models.ForeignKey(Application, models.CASCADE)
    scope = models.TextField()
    authenticated = models.DateTimeField()
    created = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["account", "application"])]

    def __str__(self) -> str:
        return f"Consent {self.pk}"


class Share(models.Model):
    """The entities that a person picked for a client, at the latest consent page that asked for entities."""

    objects: ClassVar[models.Manager[Share]] = models.Manager()

    account = models.ForeignKey(Account, models.CASCADE)
    application = models.ForeignKey(Application, models.CASCADE)
    entities: models.JSONField[Any, Any] = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "application"], name="one_share_per_client")]

    def __str__(self) -> str:
        return f"Share {self.pk}"


class Code(AbstractGrant):  # type: ignore[misc]
    """An authorization code. Kept after its use, so that a second use is recognised and ends the grant."""

    consent = models.ForeignKey(Consent, models.CASCADE)
    used = models.DateTimeField(null=True)


class AccessToken(AbstractAccessToken):  # type: ignore[misc]
    """An access token, as a checksum. The token is good as long as the row exists and has not expired."""

    consent = models.ForeignKey(Consent, models.CASCADE)


class RefreshToken(AbstractRefreshToken):  # type: ignore[misc]
    """A refresh token, as a checksum. Kept after its rotation, so that a second use is recognised."""

    consent = models.ForeignKey(Consent, models.CASCADE)
    expires = models.DateTimeField()
