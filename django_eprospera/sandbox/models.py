"""Accounts, grants and tokens (as checksums).

Tokens and codes extend django-oauth-toolkit's abstract models with the grant that they belong to.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, ClassVar

from django.apps import apps
from django.db import connection, models
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractDeviceGrant,
    AbstractGrant,
    AbstractRefreshToken,
    Application,
)

from django_eprospera.sandbox.state import current

__all__ = [
    "AccessToken",
    "Account",
    "Application",
    "Code",
    "Consent",
    "DeviceCode",
    "RefreshToken",
    "checksum",
    "schema",
]


def checksum(token: str) -> str:
    """Return the SHA-256 that is stored instead of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Account(models.Model):
    """Account of one persona, with its changes made through the control API."""

    objects: ClassVar[models.Manager[Account]] = models.Manager()

    sub = models.UUIDField(primary_key=True)
    changes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    ended_entities: models.JSONField[Any, Any] = models.JSONField(default=list)

    # Attributes that django-oauth-toolkit and Django need of a user model.
    is_active = True
    is_anonymous = False
    is_authenticated = True
    USERNAME_FIELD = "sub"
    REQUIRED_FIELDS: list[str] = []

    def __str__(self) -> str:
        return str(self.pk)


class Consent(models.Model):
    """Grant: one authorization of one client by one person, with the entities shared. Codes and tokens refer to it."""

    objects: ClassVar[models.Manager[Consent]] = models.Manager()

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    account = models.ForeignKey(Account, models.CASCADE)
    application = models.ForeignKey(Application, models.CASCADE)
    scope = models.TextField()
    entities: models.JSONField[Any, Any] = models.JSONField(default=list)
    authenticated = models.DateTimeField()
    created = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["account", "application"])]

    def __str__(self) -> str:
        return f"Consent {self.pk}"


class Code(AbstractGrant):  # type: ignore[misc]
    """Authorization code. Kept after its use, so that reuse is detected and ends the grant."""

    consent = models.ForeignKey(Consent, models.CASCADE)
    used = models.DateTimeField(null=True)


class AccessToken(AbstractAccessToken):  # type: ignore[misc]
    """Checksum of an access token. The token is valid while the row exists and has not expired."""

    consent = models.ForeignKey(Consent, models.CASCADE)


class RefreshToken(AbstractRefreshToken):  # type: ignore[misc]
    """Checksum of a refresh token. Kept after its rotation, so that reuse is detected."""

    consent = models.ForeignKey(Consent, models.CASCADE)
    expires = models.DateTimeField()


def _interval() -> int:
    return current().switches.device_interval


class DeviceCode(AbstractDeviceGrant):  # type: ignore[misc]
    """Device code and user code of one sign-in on a device, with the grant once it is approved. Deleted with its use."""

    consent = models.ForeignKey(Consent, models.CASCADE, null=True)
    interval = models.IntegerField(default=_interval)
    polled = models.DateTimeField(null=True)


def schema() -> str:
    """Return the SQL that creates the tables of the models, those of django-oauth-toolkit included."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for model in apps.get_models():
            editor.create_model(model)
    return "\n".join(editor.collected_sql or [])
