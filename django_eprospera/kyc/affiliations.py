"""Record of who was ever connected as a person or shared a company. These users never decide on the review of either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_eprospera.kyc.facts import entity_subject, person_subject
from django_eprospera.models import Affiliation, Review

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_eprospera.models import Connection, EntityConsent

__all__ = ["is_own_review", "own_subjects", "remember_connection", "remember_consent"]


def remember_connection(connection: Connection) -> None:
    """Record that the user is the connection's person. Called in the transaction that writes the connection."""
    _remember(person_subject(connection), connection)


def remember_consent(consent: EntityConsent) -> None:
    """Record that the user shares the company. Called in the transaction that writes the consent."""
    _remember(entity_subject(consent.entity), consent.connection)


def is_own_review(review: Review, reviewer: Any) -> bool:
    """Whether the review is about the reviewer, or about a company that the reviewer shares or ever shared."""
    return review.user_id == reviewer.pk or own_subjects(reviewer).filter(subject=review.subject).exists()


def own_subjects(user: Any) -> QuerySet[Affiliation]:
    """Return the affiliations of every person that the user was ever connected as, under this account or another one."""
    persons = Affiliation.objects.filter(user_ref=str(user.pk)).values("person")
    return Affiliation.objects.filter(person__in=persons)


def _remember(subject: str, connection: Connection) -> None:
    row = Affiliation(subject=subject, person=person_subject(connection), user_ref=str(connection.user_id))
    Affiliation.objects.bulk_create([row], ignore_conflicts=True)
