"""Automatic checks of the facts. Each returns pass, warn or fail with a reason, or None if it does not apply; none decides.

The name of a check's function is its code.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import MAXYEAR, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from django_eprospera import documents, scopes
from django_eprospera.audit.chain import canonical_digest
from django_eprospera.consent import is_current
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.kyc.facts import EntityFacts, PersonFacts, full_name, person_subject, shown
from django_eprospera.kyc.findings import UNREADABLE_WHY, Finding, Outcome
from django_eprospera.models import Review, VerificationImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django_eprospera.models import EntityDocument

__all__ = ["ENTITY_CHECKS", "PERSON_CHECKS", "columns_of", "is_enough", "results_of", "run"]

_ADULT: Final = 18
_SOON: Final = timedelta(days=30)
_OLD: Final = timedelta(days=2 * 365)

# Documents that have a back side (docs/provider.md#me-answers, `documentType`).
_WITH_BACK: Final = {"national_id", "drivers_license", "residence_permit"}

# A review waits while one of these fails: there is nothing to judge yet.
_NEEDED: Final = {"person_details", "identity_check", "pictures"}

# These decrypt every file of the subject. Their stored results are used again while the facts are the same. All other checks
# run each time, because the calendar and rows of other subjects change their results too.
_FILE_CHECKS: Final = {"picture_files", "document_files"}


def run(facts: PersonFacts | EntityFacts, known: Mapping[str, Finding] | None = None) -> list[Finding]:
    """Return the results of all checks of the subject's kind; those in `known`, by code, are taken from there.

    A check fails if it needs a value that cannot be decrypted.
    """
    checks: tuple[Callable[[Any], Finding | None], ...]
    checks = PERSON_CHECKS if isinstance(facts, PersonFacts) else ENTITY_CHECKS
    results = ((known or {}).get(check.__name__) or _safely(check, facts) for check in checks)
    return [finding for finding in results if finding is not None]


def results_of(review: Review, facts: PersonFacts | EntityFacts) -> list[Finding]:
    """Return the results of all checks. Files are not read if the review has their results for the same facts."""
    if review.checks_version not in keyring().indexes("kyc.checks", _version_text(facts)):
        return run(facts)
    stored = map(Finding.from_json, review.checks)
    return run(facts, {finding.code: finding for finding in stored if finding.code in _FILE_CHECKS})


def columns_of(facts: PersonFacts | EntityFacts, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the columns of a review that store results, with the version of the facts that they are about."""
    return {
        "checks": [finding.to_json() for finding in findings],
        "checks_version": keyring().index("kyc.checks", _version_text(facts)),
        "evaluate_at": next_evaluation(facts),
    }


def next_evaluation(facts: PersonFacts | EntityFacts) -> datetime | None:
    """Return when the calendar changes the result of a check next: an age, an end, a time that is called soon or old."""
    try:
        moments = _moments(facts)
    except SealedValueError:
        return None
    now = timezone.now()
    return min((moment for moment in moments if moment > now), default=None)


def _moments(facts: PersonFacts | EntityFacts) -> list[datetime]:
    if isinstance(facts, EntityFacts):
        ends = facts.entity.dissolution_date
        return [] if ends is None else [_midnight(ends)]
    found = []
    if facts.person is not None and (born := facts.person.date_of_birth):
        found.append(_midnight(_birthday(born)))
    if facts.residency is not None and (ends := facts.residency.termination_date):
        found += [_shifted(ends, -_SOON), ends]
    if facts.verification is not None and (made := facts.verification.date):
        found.append(_shifted(made, _OLD))
    return found


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # at an end of the calendar
        return moment


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def _birthday(born: date) -> date:
    """Return the day on which somebody comes of age: for 29 February, 1 March of a year that is not a leap year."""
    year = min(born.year + _ADULT, MAXYEAR)
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def is_enough(facts: PersonFacts | EntityFacts, findings: Iterable[Finding]) -> bool:
    """Whether there are enough facts to decide on. A value that cannot be decrypted is there, and no reason to wait."""
    if not facts.connections or not facts.is_current:
        return False
    return not any(
        finding.code in _NEEDED and finding.outcome is Outcome.FAIL and finding.why != UNREADABLE_WHY
        for finding in findings
    )


def _version_text(facts: PersonFacts | EntityFacts) -> str:
    files = {str(file.pk): file.storage_name for file in facts.files}
    return canonical_digest({"facts": shown(facts), "files": files})


def _safely(check: Callable[[Any], Finding | None], facts: Any) -> Finding | None:
    try:
        return check(facts)
    except SealedValueError:
        return Finding(check.__name__, Outcome.FAIL, UNREADABLE_WHY)


def person_details(facts: PersonFacts) -> Finding:
    if facts.person is None:
        shared = scopes.PERSON_DETAILS_READ in facts.connection.scopes
        return Finding("person_details", Outcome.FAIL, "none" if shared else "not_shared")
    if not facts.person.name or not facts.person.date_of_birth:
        return Finding("person_details", Outcome.WARN, "incomplete")
    return Finding("person_details", Outcome.PASS, "complete")


def of_age(facts: PersonFacts) -> Finding | None:
    if facts.person is None:
        return None
    born: date | None = facts.person.date_of_birth
    if born is None:
        return Finding("of_age", Outcome.WARN, "unknown")
    if timezone.localdate() >= _birthday(born):
        return Finding("of_age", Outcome.PASS, "adult")
    return Finding("of_age", Outcome.FAIL, "minor")


def permit_number(facts: PersonFacts | EntityFacts) -> Finding | None:
    row = facts.person if isinstance(facts, PersonFacts) else facts.entity
    if row is None:
        return None
    number = row.resident_permit_number
    if not number:
        return Finding("permit_number", Outcome.WARN, "none")
    # ASCII digits. The first one says nothing about the holder (docs/provider.md#formats).
    if re.fullmatch(r"[0-9]{14}", number):
        return Finding("permit_number", Outcome.PASS, "well_formed")
    return Finding("permit_number", Outcome.FAIL, "malformed")


def residency(facts: PersonFacts) -> Finding:
    if facts.residency is None:
        shared = scopes.PERSON_RESIDENCY_READ in facts.connection.scopes
        return Finding("residency", Outcome.WARN, "unknown" if shared else "not_shared")
    if facts.residency.is_active:
        return Finding("residency", Outcome.PASS, "active")
    ever = facts.residency.residency_type is not None or facts.residency.was_ever_resident
    return Finding("residency", Outcome.FAIL, "ended" if ever else "never")


def residency_end(facts: PersonFacts) -> Finding | None:
    if facts.residency is None or not facts.residency.is_active:
        return None
    ends = facts.residency.termination_date
    if ends is None:
        return Finding("residency_end", Outcome.PASS, "none")
    if ends - timezone.now() <= _SOON:
        return Finding("residency_end", Outcome.WARN, "soon")
    return Finding("residency_end", Outcome.PASS, "far")


def identity_check(facts: PersonFacts) -> Finding:
    if facts.verification is None:
        shared = scopes.PERSON_ID_VERIFICATION_READ in facts.connection.scopes
        return Finding("identity_check", Outcome.FAIL, "none" if shared else "not_shared")
    if facts.verification.status != "approved":
        return Finding("identity_check", Outcome.FAIL, "not_approved")
    return Finding("identity_check", Outcome.PASS, "approved")


def identity_check_age(facts: PersonFacts) -> Finding | None:
    if facts.verification is None:
        return None
    made = facts.verification.date
    if made is None:
        return Finding("identity_check_age", Outcome.WARN, "undated")
    if timezone.now() - made > _OLD:
        return Finding("identity_check_age", Outcome.WARN, "old")
    return Finding("identity_check_age", Outcome.PASS, "recent")


def pictures(facts: PersonFacts) -> Finding | None:
    if facts.verification is None:
        return None
    there = {kind for kind, picture in facts.pictures.items() if picture.storage_name}
    if not {VerificationImage.Kind.FACE.value, VerificationImage.Kind.DOCUMENT_FRONT.value} <= there:
        return Finding("pictures", Outcome.FAIL, "missing")
    if VerificationImage.Kind.DOCUMENT_BACK.value in there:
        return Finding("pictures", Outcome.PASS, "all")
    if facts.verification.document_type in _WITH_BACK:
        return Finding("pictures", Outcome.WARN, "no_back")
    return Finding("pictures", Outcome.PASS, "no_back_needed")


def picture_files(facts: PersonFacts) -> Finding | None:
    return _files("picture_files", facts.files)


def account_name(facts: PersonFacts) -> Finding | None:
    account = _parts(full_name(facts.connection.user))
    if facts.person is None or not account:
        return None
    person = _parts(facts.person.name or "")
    if account & person:
        return Finding("account_name", Outcome.PASS, "agrees")
    return Finding("account_name", Outcome.WARN, "differs")


def entity_exists(facts: EntityFacts) -> Finding:
    ends: date | None = facts.entity.dissolution_date
    if ends is None:
        return Finding("entity_exists", Outcome.PASS, "exists")
    if ends > timezone.localdate():
        return Finding("entity_exists", Outcome.WARN, "ending")
    return Finding("entity_exists", Outcome.FAIL, "dissolved")


def entity_registered(facts: EntityFacts) -> Finding:
    if facts.entity.registration_date is None:
        return Finding("entity_registered", Outcome.FAIL, "unregistered")
    return Finding("entity_registered", Outcome.PASS, "registered")


def entity_documents(facts: EntityFacts) -> Finding:
    if not facts.documents:
        shared = any(scopes.ENTITY_DOCUMENTS_READ in consent.connection.scopes for consent in facts.consents)
        return Finding("entity_documents", Outcome.WARN, "none" if shared else "not_shared")
    if not all(document.storage_name for document in facts.documents):
        return Finding("entity_documents", Outcome.WARN, "file_missing")
    return Finding("entity_documents", Outcome.PASS, "present")


def document_files(facts: EntityFacts) -> Finding | None:
    return _files("document_files", facts.files)


def representative(facts: EntityFacts) -> Finding:
    subjects = [person_subject(connection) for connection in facts.connections if is_current(connection)]
    if not subjects:
        return Finding("representative", Outcome.WARN, "nobody")
    if Review.objects.filter(subject__in=subjects, status=Review.Status.APPROVED).exists():
        return Finding("representative", Outcome.PASS, "approved")
    return Finding("representative", Outcome.WARN, "not_approved")


def _files(code: str, files: Iterable[VerificationImage | EntityDocument]) -> Finding | None:
    stored = [file for file in files if file.storage_name]
    try:
        for file in stored:
            documents.read(file)
    except DocumentError:
        return Finding(code, Outcome.FAIL, "lost")
    return Finding(code, Outcome.PASS, "open") if stored else None


def _parts(name: str) -> set[str]:
    # Without accents and case: a passport and an account may write the same name differently.
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return set(re.findall(r"\w+", plain))


PERSON_CHECKS: Final[tuple[Callable[[PersonFacts], Finding | None], ...]] = (
    person_details,
    of_age,
    permit_number,
    residency,
    residency_end,
    identity_check,
    identity_check_age,
    pictures,
    picture_files,
    account_name,
)

ENTITY_CHECKS: Final[tuple[Callable[[EntityFacts], Finding | None], ...]] = (
    entity_exists,
    entity_registered,
    permit_number,
    entity_documents,
    document_files,
    representative,
)
