"""Which companies, and which of their documents, may a user see now? Queries on the local state; consent decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_eprospera.freshness import is_granted
from django_eprospera.models import Connection, EntityDocument, LegalEntity, ResourceState

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import QuerySet

__all__ = ["connection_of", "readable_documents", "readable_entities"]

_RESOURCE = ResourceState.Resource


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
