"""What a person lets the site use now: resources by granted scope, companies, and their documents. Reads local rows only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django_eprospera import scopes
from django_eprospera.models import Connection, EntityDocument, LegalEntity, ResourceState

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import QuerySet

__all__ = [
    "ENDED",
    "NOT_GRANTED",
    "SCOPES",
    "UNFINISHED",
    "connection_of",
    "has_ended",
    "is_granted",
    "readable_documents",
    "readable_entities",
]

_RESOURCE = ResourceState.Resource

# Which scope opens which resource (docs/provider.md#scopes).
SCOPES: Final[dict[str, str]] = {
    _RESOURCE.NATURAL_PERSON: scopes.PERSON_DETAILS_READ,
    _RESOURCE.RESIDENCY: scopes.PERSON_RESIDENCY_READ,
    _RESOURCE.ID_VERIFICATION: scopes.PERSON_ID_VERIFICATION_READ,
    _RESOURCE.LEGAL_ENTITIES: scopes.ENTITY_READ,
    _RESOURCE.ENTITY_DOCUMENTS: scopes.ENTITY_DOCUMENTS_READ,
}

# Causes of `reauthorize` that mean: consent is gone.
ENDED: Final = (Connection.Cause.INVALID_GRANT, Connection.Cause.OTHER_SUBJECT)

# The code of a resource whose scope is gone; `attempted_at` is then when that was noticed.
NOT_GRANTED: Final = "not_granted"

# The code of a resource whose answer is stored, and whose files or details were not all requested yet.
UNFINISHED: Final = "unfinished"


def is_granted(connection: Connection, resource: str) -> bool:
    """Whether the person lets the site use the resource now. Cached facts of any other are not to be used.

    A scope that is no longer granted withdraws it, and so does a grant that the provider ended. A grant that merely needs a
    new sign-in, because an answer was lost or no lasting access was given, does not.
    """
    return SCOPES[resource] in connection.scopes and not has_ended(connection)


def has_ended(connection: Connection) -> bool:
    """Whether the provider said that the grant is over, or not this person's."""
    return connection.state != Connection.State.ACTIVE and connection.state_cause in ENDED


def connection_of(user: AbstractBaseUser | AnonymousUser) -> Connection | None:
    """The user's connection; None for a stranger and for an inactive user."""
    if not user.is_authenticated or not user.is_active:
        return None
    return Connection.objects.filter(user_id=user.pk).first()


def readable_entities(user: AbstractBaseUser | AnonymousUser) -> QuerySet[LegalEntity]:
    """The companies that the user shares with us now. None for a stranger, for an inactive user, without the scope."""
    connection = connection_of(user)
    if connection is None or not is_granted(connection, _RESOURCE.LEGAL_ENTITIES):
        return LegalEntity.objects.none()
    return LegalEntity.objects.filter(consents__connection=connection, consents__withdrawn_at=None).order_by("pk")


def readable_documents(
    user: AbstractBaseUser | AnonymousUser, entity: LegalEntity | None = None
) -> QuerySet[EntityDocument]:
    """The documents of `entity`, or of every company that the user shares with us now, if the scope for them is there too."""
    connection = connection_of(user)
    if connection is None or not is_granted(connection, _RESOURCE.ENTITY_DOCUMENTS):
        return EntityDocument.objects.none()
    rows = EntityDocument.objects.filter(entity__in=readable_entities(user))
    return (rows if entity is None else rows.filter(entity=entity)).order_by("-created_at", "pk")
