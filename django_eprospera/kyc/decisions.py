"""How does a reviewer decide, so that it can be proved later? One transaction: review, decision with evidence, audit entry."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from django_eprospera import audit
from django_eprospera.errors import DecisionRefused
from django_eprospera.keys import keyring
from django_eprospera.kyc.checks import run
from django_eprospera.kyc.facts import EntityFacts, PersonFacts, facts_of, person_subject
from django_eprospera.kyc.findings import Finding, Outcome
from django_eprospera.kyc.reviews import evaluate_companies
from django_eprospera.models import AuditEntry, Decision, Review
from django_eprospera.signals import kyc_decided

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["MAX_REASON", "decide", "facts_version", "is_own_review", "needs_reason", "outcomes_for", "verify_decision"]

# Characters of a reason.
MAX_REASON: Final = 2_000

_OUTCOMES: Final[dict[str, tuple[Decision.Outcome, ...]]] = {
    Review.Status.WAITING: (),
    Review.Status.PENDING: (Decision.Outcome.APPROVED, Decision.Outcome.REJECTED),
    Review.Status.APPROVED: (Decision.Outcome.REJECTED, Decision.Outcome.REOPENED),
    Review.Status.REJECTED: (Decision.Outcome.APPROVED, Decision.Outcome.REOPENED),
}
_STATUS_AFTER: Final[dict[Decision.Outcome, Review.Status]] = {
    Decision.Outcome.APPROVED: Review.Status.APPROVED,
    Decision.Outcome.REJECTED: Review.Status.REJECTED,
    Decision.Outcome.REOPENED: Review.Status.PENDING,
}


def outcomes_for(review: Review) -> tuple[Decision.Outcome, ...]:
    """Return what can be decided where the review stands now."""
    return _OUTCOMES[review.status]


def needs_reason(outcome: Decision.Outcome, findings: Iterable[Finding]) -> bool:
    """Whether a decision has to give a reason: all but an approval that no check speaks against."""
    return outcome != Decision.Outcome.APPROVED or any(finding.outcome is Outcome.FAIL for finding in findings)


def is_own_review(review: Review, reviewer: Any) -> bool:
    """Whether a review is about the reviewer, or about a company that the reviewer shares or shared."""
    connection = getattr(reviewer, "eprospera", None)
    if review.user_id == reviewer.pk or (connection is not None and person_subject(connection) == review.subject):
        return True
    return review.entity is not None and review.entity.consents.filter(connection__user_id=reviewer.pk).exists()


def facts_version(review: Review, facts: PersonFacts | EntityFacts | None) -> str:
    """Return a keyed digest of where the review stands and what the facts are: a form hands it back as `seen`.

    `facts` are None when there are none any more: then a review can still be rejected or reopened.
    """
    return keyring().index("kyc.seen", _version_text(review.status, review.decided_at, facts))


def decide(review: Review, *, reviewer: Any, outcome: Decision.Outcome, reason: str, seen: str) -> Decision:
    """Take a decision on a review, and keep it with everything it was based on.

    `seen` is the `facts_version` of what the reviewer was shown. Raises DecisionRefused, with a text for the reviewer, and
    changes nothing: `not_permitted`, `own_review`, `no_facts`, `not_now`, `stale`, `reason_required`, `reason_too_long`.
    """
    outcome, reason = Decision.Outcome(outcome), reason.strip()
    _refuse_reviewer(review, reviewer)
    if outcome not in outcomes_for(review):
        raise DecisionRefused("not_now", _("Where this review stands now, that cannot be decided."))
    if len(reason) > MAX_REASON:
        raise DecisionRefused("reason_too_long", _("The reason is too long: %d characters at most.") % MAX_REASON)
    status, decided_at, now = review.status, review.decided_at, timezone.now()
    alias = router.db_for_write(Review)
    with transaction.atomic(using=alias):
        # The write that comes first is the lock: of two reviewers one finds the review already decided, on every database.
        claimed = Review.objects.using(alias).filter(pk=review.pk, status=status, decided_at=decided_at)
        after = _STATUS_AFTER[outcome]
        queued_at = now if after == Review.Status.PENDING else None
        if not claimed.update(status=after, decided_at=now, queued_at=queued_at):
            raise _stale()
        facts = facts_of(review)
        if facts is None and outcome == Decision.Outcome.APPROVED:
            raise DecisionRefused("no_facts", _("There are no facts to approve: the person has disconnected."))
        if seen not in keyring().indexes("kyc.seen", _version_text(status, decided_at, facts)):
            raise _stale()
        findings = run(facts) if facts else []
        if not reason and needs_reason(outcome, findings):
            raise DecisionRefused("reason_required", _("Give a reason: this decision needs one."))
        decision = _keep(review, facts, findings, outcome=outcome, reason=reason, reviewer=reviewer, now=now)
        # A lambda and no partial: a robust hook that fails is logged by its name.
        transaction.on_commit(
            lambda: kyc_decided.send(Review, review=review, decision=decision), using=alias, robust=True
        )
    review.status, review.decided_at, review.queued_at = after, now, queued_at
    if isinstance(facts, PersonFacts):
        # Whether the representative is approved is one of the checks of a company.
        evaluate_companies(facts.connection)
    return decision


def verify_decision(decision: Decision) -> bool:
    """Whether a decision is still the one that was taken, and the audit chain holds it. Raises SealedValueError."""
    if decision.digest != _digest(decision):
        return False
    entries = AuditEntry.objects.filter(
        action=AuditEntry.Action.DECIDED, subject=audit.subject_of(decision.review)
    ).values_list("detail", flat=True)
    return any(detail.get("digest") == decision.digest for detail in entries)


def _refuse_reviewer(review: Review, reviewer: Any) -> None:
    if not (reviewer.is_active and reviewer.has_perm("django_eprospera.decide_review")):
        raise DecisionRefused("not_permitted", _("You may not decide reviews."))
    if is_own_review(review, reviewer):
        raise DecisionRefused(
            "own_review", _("This review is about you or a company of yours: somebody else decides it.")
        )


def _keep(
    review: Review,
    facts: PersonFacts | EntityFacts | None,
    findings: list[Finding],
    *,
    outcome: Decision.Outcome,
    reason: str,
    reviewer: Any,
    now: datetime,
) -> Decision:
    decision = Decision(
        id=uuid.uuid4(),
        review=review,
        outcome=outcome,
        reviewer=reviewer,
        reviewer_name=reviewer.get_full_name() or reviewer.get_username(),
        reason=reason,
        evidence={
            "subject": review.subject,
            "reviewer": str(reviewer.pk),
            "facts": facts.snapshot() if facts else {"identity": None},
            "checks": [finding.to_json() for finding in findings],
            # The digest lies in plain text: without this, a guess at the facts could be tried against it.
            "salt": secrets.token_hex(16),
        },
        decided_at=now,
    )
    decision.digest = _digest(decision)
    decision.save(force_insert=True)
    audit.record(
        AuditEntry.Action.DECIDED,
        review,
        actor=reviewer,
        detail={"decision": str(decision.pk), "outcome": outcome.value, "digest": decision.digest},
    )
    return decision


def _digest(decision: Decision) -> str:
    return audit.canonical_digest(
        {
            "id": str(decision.pk),
            "review": str(decision.review_id),
            "outcome": decision.outcome,
            "reviewer_name": decision.reviewer_name,
            "reason": decision.reason,
            "evidence": decision.evidence,
            "decided_at": decision.decided_at.astimezone(UTC).isoformat(),
        }
    )


def _version_text(status: str, decided_at: datetime | None, facts: PersonFacts | EntityFacts | None) -> str:
    # When it was fetched says nothing about what was seen.
    snapshot = facts.snapshot() if facts else {}
    shown = {name: value for name, value in snapshot.items() if name != "freshness"}
    at = "" if decided_at is None else decided_at.astimezone(UTC).isoformat()
    return audit.canonical_digest({"status": status, "decided_at": at, "facts": shown})


def _stale() -> DecisionRefused:
    return DecisionRefused(
        "stale", _("Nothing was decided: the facts or the review changed since you opened this page. Look at it again.")
    )
