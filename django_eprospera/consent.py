"""What the user lets the site use now: resources by granted scope, companies, and their documents. Sends no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django_eprospera import scopes
from django_eprospera.conf import conf
from django_eprospera.models import Connection, EntityDocument, LegalEntity, ResourceState

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import QuerySet

__all__ = [
    "SCOPES",
    "connection_of",
    "has_ended",
    "is_current",
    "is_granted",
    "readable_documents",
    "readable_entities",
]

_RESOURCE = ResourceState.Resource

# The scope that each resource needs.
SCOPES: Final = scopes.RESOURCES

# Causes of `reauthorize` that mean that the provider ended the grant.
ENDED: Final = (Connection.Cause.INVALID_GRANT, Connection.Cause.OTHER_SUBJECT)

# Code of a resource whose scope is not granted any more; `attempted_at` is then when that was noticed.
NOT_GRANTED: Final = "not_granted"

# Code of a resource whose answer is stored, and whose files or details were not all requested yet.
UNFINISHED: Final = "unfinished"


def is_granted(connection: Connection, resource: str) -> bool:
    """Return whether the site may use the cached facts of the resource now.

    Not if its scope is not granted, the provider ended the grant, or the grant is another provider's or client's. A grant that
    only needs a new sign-in, because an answer was lost or no lasting access was given, still allows it.
    """
    return SCOPES[resource] in connection.scopes and is_current(connection) and not has_ended(connection)


def is_current(connection: Connection) -> bool:
    """Return whether the connection belongs to the provider and the client of the settings."""
    return (connection.issuer, connection.client_id) == (conf.EPROSPERA_BASE_URL, conf.client_id)


def has_ended(connection: Connection) -> bool:
    """Return whether the provider answered that the grant has ended, or belongs to another person."""
    return connection.state != Connection.State.ACTIVE and connection.state_cause in ENDED


def connection_of(user: AbstractBaseUser | AnonymousUser) -> Connection | None:
    """Return the user's connection, or None for unauthenticated, inactive and unconnected users."""
    if not user.is_authenticated or not user.is_active:
        return None
    return Connection.objects.filter(user_id=user.pk).first()


def readable_entities(user: AbstractBaseUser | AnonymousUser) -> QuerySet[LegalEntity]:
    """Return the companies that the user shares now. Empty for unauthenticated and inactive users, and without the scope."""
    connection = connection_of(user)
    if connection is None or not is_granted(connection, _RESOURCE.LEGAL_ENTITIES):
        return LegalEntity.objects.none()
    return LegalEntity.objects.filter(consents__connection=connection, consents__withdrawn_at=None).order_by("pk")


def readable_documents(
    user: AbstractBaseUser | AnonymousUser, entity: LegalEntity | None = None
) -> QuerySet[EntityDocument]:
    """Return the documents of `entity`, or of all companies that the user shares now. Empty as in `readable_entities`."""
    connection = connection_of(user)
    if connection is None or not is_granted(connection, _RESOURCE.ENTITY_DOCUMENTS):
        return EntityDocument.objects.none()
    rows = EntityDocument.objects.filter(entity__in=readable_entities(user))
    return (rows if entity is None else rows.filter(entity=entity)).order_by("-created_at", "pk")
