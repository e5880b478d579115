"""Contents of the review page of one subject. Decides nothing, and decrypts nothing to show without permission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_eprospera.admin.rows import MASK, Section, row, rows, sealed_names
from django_eprospera.crypto import Secret
from django_eprospera.errors import SealedValueError
from django_eprospera.freshness import freshness
from django_eprospera.kyc.decisions import verify_decision
from django_eprospera.kyc.facts import EntityFacts, PersonFacts, person_subject
from django_eprospera.kyc.findings import Outcome
from django_eprospera.models import Decision, EntityDocument, Review, VerificationImage
from django_eprospera.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import Model, QuerySet
    from django.utils.functional import _StrPromise

    from django_eprospera.kyc.findings import Finding
    from django_eprospera.models.facts import FactsModel

__all__ = ["Picture", "context_of", "viewed_fields"]

# Attributes of PersonFacts, in the order in which a reviewer compares them.
_PERSON_PARTS: Final[tuple[tuple[str, _StrPromise], ...]] = (
    ("person", gettext_lazy("Person")),
    ("verification", gettext_lazy("Identity check")),
    ("residency", gettext_lazy("Residency")),
)
_WORST_FIRST: Final = (Outcome.FAIL, Outcome.WARN, Outcome.PASS)
_NO_BACK: Final[dict[str, _StrPromise]] = {
    "passport": gettext_lazy("A passport has no back."),
    "visa": gettext_lazy("A visa has no back."),
}


@dataclass(frozen=True)
class Picture:
    """A picture: the URLs of its file and of its thumbnail, or the reason why there is none."""

    label: str
    url: str
    thumbnail_url: str
    why_missing: str
    portrait: bool


def context_of(
    review: Review,
    facts: PersonFacts | EntityFacts | None,
    findings: list[Finding],
    *,
    unmasked: bool,
    admin_name: str,
) -> dict[str, Any]:
    """Return the template variables about the subject."""
    context: dict[str, Any] = {
        # Django's log shows, at DEBUG, the context of a template that misses a variable. A Secret is not in its repr.
        "name": Secret(_("masked") if facts and not unmasked else _name(facts)),
        "documents": None,
        "findings": sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.outcome)),
        "history": [_past_decision(decision, unmasked=unmasked) for decision in _decisions(review)],
    }
    if isinstance(facts, PersonFacts):
        context["sections"] = list(_person_sections(facts, unmasked=unmasked))
        context["pictures"] = [_picture(facts, kind, admin_name, unmasked=unmasked) for kind in VerificationImage.Kind]
        context["freshness"] = freshness(facts.connection)
    elif facts:
        context["sections"] = [
            Section(_("Company"), rows(facts.entity, facts.entity.review_names(), unmasked=unmasked))
        ]
        context["documents"] = [_document(document, admin_name, unmasked=unmasked) for document in facts.documents]
        context["sharing"] = [_sharing(consent.connection) for consent in facts.consents]
    return context


def viewed_fields(review: Review, facts: PersonFacts | EntityFacts | None) -> list[str]:
    """Return the names of the sealed fields that an unmasked page shows, for its audit entry."""
    shown: list[tuple[str, type[Model], Iterable[str]]] = []
    if isinstance(facts, EntityFacts):
        shown.append(("entity", type(facts.entity), facts.entity.review_names()))
        if facts.documents:
            shown.append(("document", EntityDocument, ["name"]))
    elif facts:
        parts = [(part, getattr(facts, part)) for part, _title in _PERSON_PARTS]
        shown += [(part, type(row), row.review_names()) for part, row in parts if row]
    if _decisions(review).exists():
        shown.append(("decision", Decision, ["reason", "reviewer_name"]))
    return [f"{part}.{name}" for part, model, names in shown for name in sealed_names(model, names)]


def _decisions(review: Review) -> QuerySet[Decision]:
    return review.decisions.select_related("reviewer")


def _name(facts: PersonFacts | EntityFacts | None) -> str:
    try:
        if isinstance(facts, EntityFacts):
            return visible(facts.entity.display_name)
        return visible((facts.person.name if facts and facts.person else "") or _("no name on file"))
    except SealedValueError:
        return _("cannot be decrypted")


def _person_sections(facts: PersonFacts, *, unmasked: bool) -> Iterator[Section]:
    for part, title in _PERSON_PARTS:
        instance: FactsModel | None = getattr(facts, part)
        yield Section(str(title), rows(instance, instance.review_names(), unmasked=unmasked) if instance else ())


def _picture(facts: PersonFacts, kind: VerificationImage.Kind, admin_name: str, *, unmasked: bool) -> Picture:
    label, portrait = str(kind.label), kind == VerificationImage.Kind.FACE
    picture = facts.pictures.get(kind)
    if picture is not None and picture.storage_name:
        if not unmasked:
            return Picture(label, "", "", _("You may not see personal data."), portrait)
        url, thumbnail_url = (
            reverse(f"{admin_name}:django_eprospera_{view}", args=[picture.pk]) for view in ("picture", "thumbnail")
        )
        return Picture(label, url, thumbnail_url, "", portrait)
    error = picture.error if picture else ""
    return Picture(label, "", "", _why_missing(facts, kind, error, unmasked=unmasked), portrait)


def _why_missing(facts: PersonFacts, kind: VerificationImage.Kind, error: str, *, unmasked: bool) -> str:
    if error:
        return _("It could not be fetched (%(code)s). The next sync tries again.") % {"code": error}
    if facts.verification is None:
        return _("There is no identity check.")
    if kind == VerificationImage.Kind.DOCUMENT_BACK and unmasked:
        try:
            expected = _NO_BACK.get(facts.verification.document_type or "")
        except SealedValueError:
            expected = None
        return str(expected or _("The identity check has no back of the document."))
    return _("The identity check has no such picture.")


def _document(document: Any, admin_name: str, *, unmasked: bool) -> dict[str, Any]:
    may_open = unmasked and document.storage_name
    return {
        "row": row(document, "name", unmasked=unmasked),
        "version": visible(document.version),
        "created_at": document.created_at,
        "url": reverse(f"{admin_name}:django_eprospera_document", args=[document.pk]) if may_open else "",
        "error": document.error,
    }


def _sharing(connection: Any) -> dict[str, Any]:
    review = Review.objects.filter(subject=person_subject(connection)).first()
    return {"user": connection.user, "review": review}


def _past_decision(decision: Decision, *, unmasked: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"decision": decision, "unreadable": False, "holds": False}
    try:
        shown["reason"] = Secret(decision.reason if unmasked else MASK) if decision.reason else ""
        shown["reviewer"] = Secret(decision.reviewer_name if unmasked else MASK)
        shown["holds"] = verify_decision(decision)
    except SealedValueError:
        shown["unreadable"] = True
    return shown
