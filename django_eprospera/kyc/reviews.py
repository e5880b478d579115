"""Reviews after a change of facts: opens, queues and reopens them. Decides nothing.

No row is locked while facts are read. A review is written only if its status and time of decision are still those that were
read (in the WHERE of an `update()`, which works on every database). Otherwise everything is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from django_eprospera import audit
from django_eprospera.consent import is_current
from django_eprospera.errors import EprosperaError
from django_eprospera.kyc.checks import columns_of, is_enough, run
from django_eprospera.kyc.facts import (
    EntityFacts,
    PersonFacts,
    entity_facts,
    entity_subject,
    facts_of,
    is_readable,
    person_facts,
    person_subject,
)
from django_eprospera.models import AuditEntry, Connection, LegalEntity, Review

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


__all__ = ["evaluate", "evaluate_companies", "evaluate_due", "evaluate_entity", "status_for", "status_for_entity"]

_ATTEMPTS: Final = 20
_DECIDED: Final = (Review.Status.APPROVED, Review.Status.REJECTED)


def evaluate(connection: Connection) -> Review:
    """Update the review of the connection's person, and those of its companies, from the cached facts.

    Runs the automatic checks. A waiting review enters the queue when there are enough facts. A decided review returns to the
    queue, and its gate closes, when identity facts are not those of the decision. Raises EprosperaError if other processes
    keep changing a review.
    """
    review = _evaluate_person(connection)
    evaluate_companies(connection)
    return review


def _evaluate_person(connection: Connection) -> Review:
    return _settle(
        Review.Subject.PERSON,
        person_subject(connection),
        lambda: person_facts(connection),
        {"user_id": connection.user_id},
        connection,
    )


def evaluate_companies(connection: Connection) -> None:
    """Update the reviews of the person's companies from the cached facts. Raises EprosperaError as `evaluate` does."""
    for entity in LegalEntity.objects.filter(consents__connection=connection).order_by("pk"):
        evaluate_entity(entity)


def evaluate_entity(entity: LegalEntity) -> Review:
    """Update the review of a company from the cached facts. Raises EprosperaError as `evaluate` does."""
    return _settle(
        Review.Subject.ENTITY, entity_subject(entity), lambda: entity_facts(entity), {"entity_id": entity.pk}
    )


def evaluate_due(limit: int = 1000) -> int:
    """Evaluate up to `limit` reviews in which the calendar has changed the result of a check. Returns how many.

    Raises EprosperaError as `evaluate` does.
    """
    due = Review.objects.filter(evaluate_at__lte=timezone.now()).order_by("evaluate_at")
    reviews = list(due[:limit])
    for review in reviews:
        facts = facts_of(review)
        if isinstance(facts, EntityFacts):
            evaluate_entity(facts.entity)
        elif isinstance(facts, PersonFacts):
            _evaluate_person(facts.connection)
        else:
            _forget_calendar(review)
    return len(reviews)


def _forget_calendar(review: Review) -> None:
    """Leave a review whose facts were erased as it is."""
    alias = router.db_for_write(Review)
    with transaction.atomic(using=alias):
        if Review.objects.using(alias).filter(pk=review.pk, evaluate_at=review.evaluate_at).update(evaluate_at=None):
            review.refresh_from_db()
            audit.record(AuditEntry.Action.STORED, review, rows=[review])


def status_for(user: AbstractBaseUser | AnonymousUser) -> Review | None:
    """Return the review of the person that the user is connected as, or None.

    None if the connection is of another provider or client, and for an approval whose facts are not on file.
    """
    connection = _current_connection(user)
    if connection is None:
        return None
    review = Review.objects.filter(subject=person_subject(connection)).first()
    if review is not None and review.status == Review.Status.APPROVED and not hasattr(connection, "natural_person"):
        return None  # the facts were erased, and have not been fetched and compared with the decision yet
    return review


def status_for_entity(user: AbstractBaseUser | AnonymousUser, entity: LegalEntity) -> Review | None:
    """Return the review of a company that the user shares now; None without one, or if the connection is not current."""
    connection = _current_connection(user)
    if connection is None or not entity.consents.filter(connection=connection, withdrawn_at=None).exists():
        return None
    return Review.objects.filter(subject=entity_subject(entity)).first()


def _current_connection(user: AbstractBaseUser | AnonymousUser) -> Connection | None:
    connection: Connection | None = getattr(user, "eprospera", None)
    return connection if connection is not None and is_current(connection) else None


def _settle(
    kind: Review.Subject,
    subject: str,
    read: Callable[[], PersonFacts | EntityFacts],
    owner: dict[str, Any],
    connection: Connection | None = None,
) -> Review:
    alias = router.db_for_write(Review)
    for _ in range(_ATTEMPTS):
        review, created = Review.objects.using(alias).get_or_create(subject=subject, defaults={"subject_kind": kind})
        facts = read()
        findings = run(facts)
        status = _status(review, facts, enough=is_enough(facts, findings))
        values = {**owner, "status": status, **columns_of(facts, findings)}
        if status != review.status:
            values["queued_at"] = timezone.now() if status == Review.Status.PENDING else None
        reopened = review.status in _DECIDED and status != review.status
        as_read = Review.objects.using(alias).filter(pk=review.pk, status=review.status, decided_at=review.decided_at)
        if not created and all(getattr(review, name) == value for name, value in values.items()):
            if as_read.exists():
                return review
            continue
        with transaction.atomic(using=alias):
            # The lock comes before the write, so that the connection and its user stay until the review is committed.
            rows = Connection.objects.using(alias).filter(pk=connection.pk if connection else None)
            if connection is not None and not rows.update(used_at=F("used_at")):
                return review  # disconnected meanwhile
            if not as_read.update(**values):
                continue
            review.refresh_from_db()
            if reopened:
                audit.record(AuditEntry.Action.REOPENED, review, detail={"why": "facts_changed"}, rows=[review])
            else:
                audit.record(AuditEntry.Action.STORED, review, rows=[review])
        return review
    raise EprosperaError(
        f"Review {review.pk} was changed by others {_ATTEMPTS} times while it was evaluated. The next sync evaluates it again."
    )


def _status(review: Review, facts: PersonFacts | EntityFacts, *, enough: bool) -> Review.Status:
    if review.status in _DECIDED and _still_covered(review, facts):
        return Review.Status(review.status)
    return Review.Status.PENDING if enough else Review.Status.WAITING


def _still_covered(review: Review, facts: PersonFacts | EntityFacts) -> bool:
    identity = facts.identity
    if not is_readable(identity):
        return True  # an encryption key is missing; the facts need not have changed
    decision = review.decisions.order_by("-decided_at").first()
    if decision is None or decision.outcome != review.status:
        return False  # no decision led to this status
    return bool(decision.evidence["facts"]["identity"] == identity)
