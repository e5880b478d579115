"""A user with everything that gates and pages read, written to the database without a network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth import get_user_model
from django.db import router
from django.test import TestCase
from django.utils import timezone

from django_eprospera import audit
from django_eprospera.conf import conf
from django_eprospera.kyc import Finding, Outcome
from django_eprospera.kyc.checks import columns_of, run
from django_eprospera.kyc.decisions import may_decide, store_decision
from django_eprospera.kyc.facts import EntityFacts, PersonFacts, entity_subject, person_subject
from django_eprospera.models import (
    AuditEntry,
    Connection,
    Decision,
    EntityConsent,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    Review,
)
from django_eprospera.scopes import ENTITY_READ, FEATURES, PERSON_RESIDENCY_READ
from django_eprospera.testing import factories
from django_eprospera.wording import RESIDENCY_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import Model

    from django_eprospera.models import VerificationImage

__all__ = ["make_user"]

_NO_RESIDENCY: Final = {"ended": True, "never": False}
_REVIEWER: Final = "eprospera-test-reviewer"
_OUTCOMES: Final = {"approved": Decision.Outcome.APPROVED, "rejected": Decision.Outcome.REJECTED}
_RESOURCES: Final = {
    NaturalPerson: "natural_person", Residency: "residency", IdVerification: "id_verification", LegalEntity: "legal_entities",
    EntityConsent: "legal_entities",
}  # fmt: skip
_SIZE: Final = (64, 40)
_numbers = itertools.count(1)


def make_user(
    *,
    residency: str | None = None,
    kyc: str | None = None,
    companies: Iterable[str] | Mapping[str, str | None] = (),
    user: Any = None,
    reviewer: Any = None,
    scopes: Iterable[str] | None = None,
) -> Any:
    """Return a user who is connected with e-Próspera, with facts that the models have sealed under the settings' keys.

    `residency` is a type of residency, "ended" or "never"; None: nothing is known. `kyc` is the status of the review:
    "waiting", "pending", "approved" or "rejected"; the last two are decisions of `reviewer` with evidence and audit entries.
    `companies` are the names of the companies that the user shares, or a dictionary with the status of each company's review.
    `user` is a user of yours to connect; `reviewer` one who may decide (by default a superuser that the kit makes). `scopes`
    are those of the settings unless given. No signals of this package are sent.

    Raises ValueError for other values, and if the scopes do not cover what is asked for.
    """
    statuses = dict(companies) if isinstance(companies, Mapping) else dict.fromkeys(companies)
    granted = tuple(conf.requested_scopes if scopes is None else scopes)
    _check(residency, kyc, statuses, granted)
    # As if everything had been committed: the audit chain has its anchor.
    with TestCase.captureOnCommitCallbacks(using=router.db_for_write(Connection), execute=True):
        link = factories.connection(user or _account(f"eprospera-person-{next(_numbers)}"), scopes=granted)
        facts, rows = _person(link, residency, kyc)
        consents = {factories.consent(link, factories.legal_entity(name=name)): name for name in statuses}
        rows += [row for consent in consents for row in (consent, consent.entity)]
        factories.synced(link, resources={_RESOURCES[type(row)] for row in rows})
        if kyc is not None:
            owner = {"subject_kind": Review.Subject.PERSON, "subject": person_subject(link), "user": link.user}
            _review(facts, kyc, reviewer, rows, owner)
        elif rows:
            audit.record(AuditEntry.Action.STORED, link, rows=rows)
        for consent, name in consents.items():
            if (status := statuses[name]) is not None:
                entity = consent.entity
                owner = {"subject_kind": Review.Subject.ENTITY, "subject": entity_subject(entity), "entity": entity}
                _review(EntityFacts(entity, (consent,), (), stored=()), status, reviewer, [], owner)
    return link.user


def _check(
    residency: str | None, kyc: str | None, companies: Mapping[str, str | None], granted: tuple[str, ...]
) -> None:
    if residency is not None and residency not in (*RESIDENCY_TYPES, *_NO_RESIDENCY):
        raise ValueError(
            f"residency must be one of {', '.join((*RESIDENCY_TYPES, *_NO_RESIDENCY))}, not {residency!r}."
        )
    person, company = Review.Status.values, [each for each in Review.Status.values if each != Review.Status.WAITING]
    for what, status, known in (("kyc", kyc, person), *((name, each, company) for name, each in companies.items())):
        if status is not None and status not in known:
            raise ValueError(f"The status of {what} must be one of {', '.join(known)}, not {status!r}.")
    needed = {PERSON_RESIDENCY_READ} if residency is not None else set()
    needed |= set(FEATURES["kyc"]) if kyc is not None else set()
    needed |= {ENTITY_READ} if companies else set()
    if missing := sorted(needed - set(granted)):
        raise ValueError(
            f"Nobody shares this with a site that does not request {', '.join(missing)}: add to SOCIAL_AUTH_EPROSPERA_SCOPE."
        )


def _person(link: Connection, residency: str | None, kyc: str | None) -> tuple[PersonFacts, list[Model]]:
    """Return the facts, and the rows that the audit chain covers."""
    lives = person = verification = None
    pictures: dict[str, VerificationImage] = {}
    if residency in RESIDENCY_TYPES:
        lives = factories.residency(link, residency_type=residency)
    elif residency is not None:
        ever = _NO_RESIDENCY[residency]
        lives = factories.residency(link, residency_type=None, effective_date=None, was_ever_resident=ever)
    if kyc is not None:
        person = factories.natural_person(link)
    if kyc not in (None, Review.Status.WAITING):
        verification = factories.id_verification(link, document_type="passport", pictures=())
        for kind in ("document_front", "face"):  # a passport has no back side
            content = factories.png(kind, size=_SIZE)
            pictures[kind] = factories.picture(verification, kind=kind, content=content)
    rows: list[Model] = [row for row in (lives, person, verification) if row is not None]
    return PersonFacts(link, person, lives, verification, pictures, stored=()), rows


def _review(
    facts: PersonFacts | EntityFacts, status: str, reviewer: Any, rows: list[Model], owner: dict[str, Any]
) -> None:
    """Store what `kyc.evaluate` and `kyc.decide` would, without reading back what was just written."""
    known = {"picture_files": Finding("picture_files", Outcome.PASS, "open")} if facts.files else {}
    findings, now = run(facts, known), timezone.now()
    review = Review(status=status, **owner, **columns_of(facts, findings))
    outcome = _OUTCOMES.get(status)
    review.decided_at = now if outcome else None
    review.queued_at = now if status == Review.Status.PENDING else None
    review.save(force_insert=True)
    if outcome is None:
        audit.record(AuditEntry.Action.STORED, review, rows=[review, *rows])
        return
    decider = reviewer or _reviewer()
    if not may_decide(decider):
        raise ValueError(
            f"{decider.get_username()} must be active and have the permissions to decide reviews (docs/kyc.md)."
        )
    store_decision(
        review,
        facts,
        findings,
        outcome=outcome,
        reason="Decided by the test kit.",
        reviewer=decider,
        now=now,
        rows=rows,
    )


def _reviewer() -> Any:
    model = get_user_model()
    named = {model.USERNAME_FIELD: _names(model, _REVIEWER)[model.USERNAME_FIELD]}
    return model.objects.filter(**named).first() or _account(_REVIEWER, is_superuser=True)


def _account(name: str, **fields: Any) -> Any:
    model = get_user_model()
    account = model(**_names(model, name), **fields)
    account.set_unusable_password()
    account.save()
    return account


def _names(model: Any, name: str) -> dict[str, str]:
    email = model.get_email_field_name()
    return {model.USERNAME_FIELD: name, email: f"{name}@example.test"}
