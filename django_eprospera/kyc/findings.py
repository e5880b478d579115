"""Results of automatic checks: stored as codes, translated to sentences when they are shown.

A result contains no personal data, so the database stores it unencrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["LABELS", "SENTENCES", "UNREADABLE_WHY", "Finding", "Outcome"]


class Outcome(models.TextChoices):
    """Outcome of a check."""

    PASS = "pass", _("passed")
    WARN = "warn", _("look closer")
    FAIL = "fail", _("failed")


UNREADABLE_WHY: Final = "unreadable"

LABELS: Final[dict[str, _StrPromise]] = {
    "person_details": _("Personal details"),
    "permit_number": _("Resident permit number"),
    "residency": _("Residency"),
    "residency_end": _("End of residency"),
    "identity_check": _("Identity check"),
    "identity_check_age": _("Age of the identity check"),
    "pictures": _("Pictures"),
    "picture_files": _("Picture files"),
    "of_age": _("Of age"),
    "account_name": _("Name of the account"),
    "entity_registered": _("Registration"),
    "entity_exists": _("Existence"),
    "entity_documents": _("Documents"),
    "document_files": _("Document files"),
    "representative": _("Representative"),
}

# By check and reason. "*" is for a reason that every check may have.
SENTENCES: Final[dict[tuple[str, str], _StrPromise]] = {
    ("*", UNREADABLE_WHY): _("A value cannot be decrypted. Ask the administrator who manages the encryption keys."),
    ("person_details", "complete"): _("Name and date of birth are on file."),
    ("person_details", "incomplete"): _("The provider gave no name or no date of birth."),
    ("person_details", "not_shared"): _("The person did not share personal details."),
    ("person_details", "none"): _("The provider has no personal details on file, or they have not arrived yet."),
    ("permit_number", "well_formed"): _("The number has the 14 digits that it should have."),
    ("permit_number", "malformed"): _("The number does not have 14 digits."),
    ("permit_number", "none"): _("There is no resident permit number."),
    ("residency", "active"): _("The residency is active."),
    ("residency", "ended"): _("The residency has ended."),
    ("residency", "never"): _("There is no residency, and there never was one."),
    ("residency", "not_shared"): _("The person did not share the residency."),
    ("residency", "unknown"): _("The residency has not arrived yet."),
    ("residency_end", "none"): _("No end of the residency is set."),
    ("residency_end", "far"): _("The residency ends, but not within 30 days."),
    ("residency_end", "soon"): _("The residency ends within 30 days."),
    ("identity_check", "approved"): _("The provider checked the identity and approved it."),
    ("identity_check", "not_approved"): _("The provider's identity check is not approved."),
    ("identity_check", "none"): _("The provider has no identity check on file, or it has not arrived yet."),
    ("identity_check", "not_shared"): _("The person did not share the identity check."),
    ("identity_check_age", "recent"): _("The identity check is less than two years old."),
    ("identity_check_age", "old"): _("The identity check is more than two years old."),
    ("identity_check_age", "undated"): _("The identity check has no date."),
    ("pictures", "all"): _("Selfie, document front and document back are there."),
    ("pictures", "no_back_needed"): _("Selfie and document are there; this kind of document has no back."),
    ("pictures", "no_back"): _("The back of the document is missing, and this kind of document has one."),
    ("pictures", "missing"): _("The selfie or the front of the document is missing."),
    ("picture_files", "open"): _("Every picture opens and is unchanged since it was fetched."),
    ("picture_files", "lost"): _("A picture is no longer in the storage."),
    ("of_age", "adult"): _("The person is 18 or older."),
    ("of_age", "minor"): _("The person is younger than 18."),
    ("of_age", "unknown"): _("The date of birth is not known."),
    ("account_name", "agrees"): _("The name of the site's account agrees with the person's name."),
    ("account_name", "differs"): _("The name of the site's account shares no part with the person's name."),
    ("entity_registered", "registered"): _("The company is registered."),
    ("entity_registered", "unregistered"): _("The provider gave no date of registration."),
    ("entity_exists", "exists"): _("The company is not dissolved."),
    ("entity_exists", "dissolved"): _("The company is dissolved."),
    ("entity_exists", "ending"): _("The company is going to be dissolved."),
    ("entity_documents", "present"): _("Every document that the provider lists is on file."),
    ("entity_documents", "none"): _("The provider lists no documents, or they have not arrived yet."),
    ("entity_documents", "file_missing"): _("A document is listed, but its file is not here."),
    ("entity_documents", "not_shared"): _("Nobody who shares the company shares its documents."),
    ("document_files", "open"): _("Every document opens and is unchanged since it was fetched."),
    ("document_files", "lost"): _("A document is no longer in the storage."),
    ("representative", "approved"): _("It is shared by a person whose own KYC is approved."),
    ("representative", "not_approved"): _("It is shared, but by nobody whose own KYC is approved."),
    ("representative", "nobody"): _("Nobody shares the company with this site any more."),
}


@dataclass(frozen=True)
class Finding:
    """Result of one check: the check's code, its outcome, and a stable code of the reason."""

    code: str
    outcome: Outcome
    why: str

    @property
    def label(self) -> str:
        """Name of the check, for pages."""
        return str(LABELS.get(self.code, self.code))

    @property
    def sentence(self) -> str:
        """The reason as a sentence, for pages."""
        return str(SENTENCES.get((self.code, self.why)) or SENTENCES.get(("*", self.why)) or self.why)

    def to_json(self) -> dict[str, str]:
        """Return the form that `Review.checks` and the evidence store."""
        return {"code": self.code, "outcome": self.outcome.value, "why": self.why}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Finding:
        """Return the finding that `to_json` returned this for."""
        return cls(str(stored["code"]), Outcome(stored["outcome"]), str(stored["why"]))
