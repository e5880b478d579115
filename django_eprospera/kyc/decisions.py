"""Decisions of reviewers, with evidence. One transaction writes the review, the decision and its audit entry."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from django_eprospera import audit
from django_eprospera.audit.chain import canonical_digest
from django_eprospera.audit.rows import subject_of
from django_eprospera.errors import DecisionRefused
from django_eprospera.keys import keyring
from django_eprospera.kyc.affiliations import is_own_review
from django_eprospera.kyc.checks import columns_of, run
from django_eprospera.kyc.facts import EntityFacts, PersonFacts, facts_of, full_name, shown
from django_eprospera.kyc.findings import Finding, Outcome
from django_eprospera.kyc.reviews import evaluate_companies
from django_eprospera.models import AuditEntry, Decision, Review
from django_eprospera.signals import kyc_decided

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import Model

__all__ = [
    "MAX_REASON",
    "decide",
    "digested",
    "facts_version",
    "may_decide",
    "needs_reason",
    "outcomes_for",
    "store_decision",
    "verify_decision",
]

# Characters of a reason.
MAX_REASON: Final = 2_000

_PERMISSIONS: Final = ("django_eprospera.decide_review", "django_eprospera.view_personal_data")
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
    """Return the outcomes that are possible for the review's status."""
    return _OUTCOMES[review.status]


def needs_reason(outcome: Decision.Outcome, findings: Iterable[Finding]) -> bool:
    """Whether a decision needs a reason: every decision except an approval without a failed check."""
    return outcome != Decision.Outcome.APPROVED or any(finding.outcome is Outcome.FAIL for finding in findings)


def may_decide(reviewer: Any) -> bool:
    """Whether a user may decide reviews at all: nobody decides on what they may not see."""
    has_perms = getattr(reviewer, "has_perms", None)  # a user model may have no permissions
    return bool(reviewer.is_active and callable(has_perms) and has_perms(_PERMISSIONS))


def facts_version(review: Review, facts: PersonFacts | EntityFacts | None, findings: Iterable[Finding]) -> str:
    """Return a keyed digest of everything that a reviewer is shown: status, facts, and results of the checks.

    A form sends it back, and `decide` takes it as `seen`. `facts` is None if they have been erased; the review can still be
    rejected or reopened then.
    """
    return keyring().index("kyc.seen", _version_text(review, facts, findings))


def decide(review: Review, *, reviewer: Any, outcome: Decision.Outcome, reason: str, seen: str) -> Decision:
    """Take a decision on a review, and store it with its evidence.

    `seen` is the `facts_version` of what the reviewer was shown. Raises DecisionRefused, with a text for the reviewer, and
    decides nothing: `not_permitted`, `own_review`, `not_now`, `reason_too_long`, `no_facts`, `other_provider`, `stale`,
    `reason_required`.
    """
    outcome, reason = Decision.Outcome(outcome), reason.strip()
    _refuse_reviewer(review, reviewer)
    if outcome not in outcomes_for(review):
        raise DecisionRefused("not_now", _("This review has a status in which that cannot be decided."))
    if len(reason) > MAX_REASON:
        raise DecisionRefused("reason_too_long", _("The reason is too long: %d characters at most.") % MAX_REASON)
    # Before the transaction, which holds SQLite's write lock: the checks decrypt every file.
    facts, findings = _examine(review)
    if facts is None and outcome == Decision.Outcome.APPROVED:
        raise DecisionRefused("no_facts", _("There are no facts to approve: the person has disconnected."))
    if facts and not facts.is_current and outcome == Decision.Outcome.APPROVED:
        raise DecisionRefused(
            "other_provider",
            _(
                "These facts are of another provider or client than the one that this site uses now. They cannot be approved."
            ),
        )
    if not _is_version(seen, review, facts, findings):
        raise _stale()
    if not reason and needs_reason(outcome, findings):
        raise DecisionRefused("reason_required", _("Give a reason: this decision needs one."))
    now, after, alias = timezone.now(), _STATUS_AFTER[outcome], router.db_for_write(Review)
    queued_at = now if after == Review.Status.PENDING else None
    with transaction.atomic(using=alias):
        # The first write is the lock: of two reviewers, the second finds the review already decided, on every database.
        as_read = Review.objects.using(alias).filter(pk=review.pk, status=review.status, decided_at=review.decided_at)
        if not as_read.update(status=after, decided_at=now, queued_at=queued_at):
            raise _stale()
        # A sync that stores other facts after this line evaluates the review afterwards, and reopens it.
        unchanged = facts_of(review)
        if (unchanged and unchanged.stored) != (facts and facts.stored):
            raise _stale()
        written = Review.objects.using(alias).get(pk=review.pk)
        decision = store_decision(written, facts, findings, outcome=outcome, reason=reason, reviewer=reviewer, now=now)
        # A lambda and no partial: Django logs a failed robust hook by its name.
        transaction.on_commit(
            lambda: kyc_decided.send(Review, review=review, decision=decision), using=alias, robust=True
        )
    review.status, review.decided_at, review.queued_at = after, now, queued_at
    if isinstance(facts, PersonFacts):
        # One of the checks of a company is whether its representative is approved.
        evaluate_companies(facts.connection)
    return decision


def verify_decision(decision: Decision) -> bool:
    """Whether a decision is unchanged and the audit chain has it. Raises SealedValueError if it cannot be decrypted."""
    if decision.digest != _digest(decision):
        return False
    entries = AuditEntry.objects.filter(
        action=AuditEntry.Action.DECIDED, subject=subject_of(decision.review)
    ).values_list("detail", flat=True)
    return any(detail.get("digest") == decision.digest for detail in entries)


def digested(decision: Decision) -> dict[str, Any]:
    """Return what the digest of a decision is about, as plain JSON types. Raises SealedValueError."""
    return {
        "id": str(decision.pk),
        "review": str(decision.review_id),
        "outcome": decision.outcome,
        "reviewer_name": decision.reviewer_name,
        "reason": decision.reason,
        "evidence": decision.evidence,
        "decided_at": decision.decided_at.astimezone(UTC).isoformat(),
    }


def _refuse_reviewer(review: Review, reviewer: Any) -> None:
    if not may_decide(reviewer):
        raise DecisionRefused("not_permitted", _("You do not have the permissions to decide reviews."))
    if is_own_review(review, reviewer):
        raise DecisionRefused(
            "own_review", _("This review is about you or a company of yours. Another reviewer has to decide it.")
        )


def store_decision(
    review: Review,
    facts: PersonFacts | EntityFacts | None,
    findings: list[Finding],
    *,
    outcome: Decision.Outcome,
    reason: str,
    reviewer: Any,
    now: datetime,
    rows: Iterable[Model] = (),
) -> Decision:
    """Store a decision with its evidence and its audit entry, which covers the review, as it was just written, and `rows`."""
    decision = Decision(
        id=uuid.uuid4(),
        review=review,
        outcome=outcome,
        reviewer=reviewer,
        reviewer_name=full_name(reviewer) or reviewer.get_username(),
        reason=reason,
        evidence={
            "subject": review.subject,
            "reviewer": str(reviewer.pk),
            "facts": facts.snapshot if facts else {"identity": None},
            "checks": [finding.to_json() for finding in findings],
            # The digest is stored in plain text. Without a salt, guessed facts could be compared with it.
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
        rows=[review, decision, *rows],
    )
    return decision


def _digest(decision: Decision) -> str:
    return canonical_digest(digested(decision))


def _examine(review: Review) -> tuple[PersonFacts | EntityFacts | None, list[Finding]]:
    facts = facts_of(review)
    if facts is None:
        return None, []
    findings = run(facts)
    values = columns_of(facts, findings)
    if values["checks"] != review.checks:
        # The page may have shown stored results of file checks. The next one shows these.
        alias = router.db_for_write(Review)
        with transaction.atomic(using=alias):
            Review.objects.using(alias).filter(pk=review.pk).update(**values)
            stored = Review.objects.using(alias).get(pk=review.pk)
            audit.record(AuditEntry.Action.STORED, review, rows=[stored])
    return facts, findings


def _is_version(
    seen: str, review: Review, facts: PersonFacts | EntityFacts | None, findings: Iterable[Finding]
) -> bool:
    versions = keyring().indexes("kyc.seen", _version_text(review, facts, findings))
    return any(constant_time_compare(seen, version) for version in versions)


def _version_text(review: Review, facts: PersonFacts | EntityFacts | None, findings: Iterable[Finding]) -> str:
    at = "" if review.decided_at is None else review.decided_at.astimezone(UTC).isoformat()
    checks = [finding.to_json() for finding in findings]
    return canonical_digest({"status": review.status, "decided_at": at, "facts": shown(facts), "checks": checks})


def _stale() -> DecisionRefused:
    return DecisionRefused(
        "stale", _("Nothing was decided: the facts or the review changed since you opened this page. Look at it again.")
    )
