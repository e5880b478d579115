"""Case files: one ZIP with all that is known about a review, signed, which `verify` verifies without this site.

The ZIP is made while it is sent, one file at a time: no plaintext is written to disk, and no more than one file is in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.exceptions import PermissionDenied
from django.db import models, router, transaction
from django.db.models import F
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_eprospera import audit, documents
from django_eprospera.audit import tree
from django_eprospera.audit.chain import COLUMNS, authenticated, hash_of, plain
from django_eprospera.audit.rows import subject_of
from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import AuditError, ConfigurationError, DocumentError, SealedValueError
from django_eprospera.keys import KEY_RECIPE, SigningKey, keyring, signing_keys
from django_eprospera.kyc.affiliations import is_own_review
from django_eprospera.kyc.decisions import digested
from django_eprospera.kyc.facts import PersonFacts, facts_of
from django_eprospera.kyc.findings import Finding
from django_eprospera.models import AuditEntry, Decision, EntityDocument, Review, VerificationImage
from django_eprospera.verify import (
    AUDIT,
    DECISIONS,
    FORMAT,
    MANIFEST,
    MAX_JSON,
    REVIEW,
    SIGNATURE,
    SUMMARY,
    canonical,
    directory,
    local_header,
    signed,
)
from django_eprospera.wording import in_words, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django_eprospera.kyc.facts import EntityFacts
    from django_eprospera.models.facts import FactsModel

__all__ = ["CaseFile", "Purpose", "export", "may_export"]

_PERMISSIONS: Final = (
    "django_eprospera.view_review",
    "django_eprospera.view_personal_data",
    "django_eprospera.export_review",
)
# The proofs of these fit into what `verify` reads, and the files into a ZIP without extensions.
_MOST_ENTRIES: Final = 5_000
_MOST_BYTES: Final = 2**31

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem 1rem .25rem 0;border-bottom:1px solid #8888;white-space:pre-line}"
    "td,pre{overflow-wrap:break-word}pre{white-space:pre-wrap;font-size:.8rem}:root{color-scheme:light dark}"
)


class Purpose(models.TextChoices):
    """What a case file is exported for, as the audit entry and the manifest say."""

    AUTHORITY = "authority", gettext_lazy("an authority asked for it")
    AUDIT = "audit", gettext_lazy("audit of this site")
    PERSON = "person", gettext_lazy("the person asked for it")
    LEGAL = "legal", gettext_lazy("legal claim or complaint")


@dataclass(frozen=True)
class _File:
    name: str
    label: str
    row: VerificationImage | EntityDocument


@dataclass(frozen=True)
class CaseFile:
    """A case file whose export is recorded. `missing` is complete when all chunks were made: reasons, by name of a file."""

    review: Review
    exported: AuditEntry
    key: SigningKey
    language: str
    facts: PersonFacts | EntityFacts | None
    decisions: list[Decision]
    entries: list[dict[str, Any]]
    files: list[_File]
    proofs: dict[int, list[str]]
    root: str
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the ZIP, without personal data."""
        return f"case-{str(self.review.pk)[:8]}-{self.exported.at.astimezone(UTC):%Y%m%dT%H%M%SZ}.zip"

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the ZIP."""
        members: list[tuple[str, int, int]] = []
        listed: dict[str, dict[str, Any]] = {}
        for name, content, kind in self._contents(listed):
            digest = hashlib.sha256(content).hexdigest()
            listed[name] = {"sha256": digest, "size": len(content), "type": kind}
            members.append((name, zlib.crc32(content), len(content)))
            yield local_header(*members[-1])
            yield content
        yield directory(members)

    def _contents(self, listed: dict[str, dict[str, Any]]) -> Iterator[tuple[str, bytes, str]]:
        for file in self.files:
            try:
                content = documents.read(file.row)
            except DocumentError as error:
                self.missing[file.name] = error.code
            except SealedValueError:
                self.missing[file.name] = "unreadable"
            else:
                yield file.name, content, file.row.content_type
        entries = [{"entry": plain(row), "proof": self.proofs[row["position"]]} for row in self.entries]
        yield REVIEW, canonical(self._review()), "application/json"
        yield DECISIONS, canonical([digested(decision) for decision in self.decisions]), "application/json"
        yield AUDIT, canonical({"entries": entries}), "application/json"
        yield SUMMARY, self._summary(listed).encode(), "text/html; charset=utf-8"
        manifest = canonical(self._manifest(listed))
        yield MANIFEST, manifest, "application/json"
        yield SIGNATURE, self.key.private.sign(signed(manifest)).hex().encode(), "text/plain"

    def _manifest(self, listed: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "site": {"provider": conf.EPROSPERA_BASE_URL, "client_id": conf.client_id},
            "key": self.key.id,
            "review": subject_of(self.review),
            "exported_at": _iso(self.exported.at),
            "exporter": "" if self.exported.actor_id is None else str(self.exported.actor_id),
            "purpose": self.exported.detail["purpose"],
            "tree": {"size": self.exported.position, "root": self.root},
            "subjects": {row["subject"]: row["position"] for row in self.entries},
            "files": dict(listed),
            "missing": self.missing,
        }

    def _review(self) -> dict[str, Any]:
        review = self.review
        moments = ("opened_at", "queued_at", "decided_at")
        return {
            "id": str(review.pk),
            "kind": review.subject_kind,
            "subject": review.subject,
            "status": review.status,
            **{name: None if getattr(review, name) is None else _iso(getattr(review, name)) for name in moments},
            "checks": review.checks,
            "facts": self.facts.snapshot if self.facts else None,
            "files": {file.name: file.label for file in self.files},
        }

    def _summary(self, listed: dict[str, dict[str, Any]]) -> str:
        digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        with translation.override(self.language):
            context = {
                "case": self,
                "style": mark_safe(_STYLE),  # noqa: S308 - ours
                "style_digest": digest,
                "language": self.language,
                "sections": list(_sections(self.facts)),
                "findings": list(map(Finding.from_json, self.review.checks)),
                "decisions": [_decision(decision) for decision in self.decisions],
                "entries": [(AuditEntry(**row), _utc(row["at"])) for row in self.entries],
                "exported_at": _utc(self.exported.at),
                "files": [
                    {"name": file.name, "label": _label(file), **listed.get(file.name, {})} for file in self.files
                ],
                "purpose": Purpose(self.exported.detail["purpose"]).label,
                "key_path": reverse("eprospera:audit_key"),
                "provider": conf.EPROSPERA_BASE_URL,
            }
            return render_to_string("django_eprospera/case_file.html", context)


def may_export(user: Any) -> bool:
    """Whether a user may export case files at all: nobody exports what they may not see."""
    has_perms = getattr(user, "has_perms", None)  # a user model may have no permissions
    return bool(user.is_active and callable(has_perms) and has_perms(_PERMISSIONS))


def export(review: Review, *, purpose: Purpose, actor: Any = None, language: str = "") -> CaseFile:
    """Record the export of a review, and return the case file. `actor` is None for the site itself.

    Raises PermissionDenied for a user without the permissions and for one's own case, ConfigurationError without
    EPROSPERA_SIGNING_KEY, SealedValueError if a decision cannot be decrypted, AuditError if an entry is not as it was written
    or there are too many, and DocumentError `too_large`.
    """
    if actor is not None and (not may_export(actor) or is_own_review(review, actor)):
        raise PermissionDenied
    key = next(iter(signing_keys()), None)
    if key is None:
        raise ConfigurationError(
            f"EPROSPERA_SIGNING_KEY is missing: a case file cannot be signed. Set it to a key made with `{KEY_RECIPE}`."
        )
    purpose = Purpose(purpose)
    with transaction.atomic(using=router.db_for_write(Review)):
        # What changes a review holds this lock too. The entry comes next: until the end, nothing else is recorded.
        Review.objects.filter(pk=review.pk).update(opened_at=F("opened_at"))
        exported = audit.record(
            AuditEntry.Action.EXPORTED, review, actor=actor, detail={"purpose": purpose.value, "key": key.id}
        )
        review.refresh_from_db()
        facts = facts_of(review)
        decisions = list(review.decisions.order_by("decided_at", "pk"))
        files = list(_files(facts))
        _read_now(facts, decisions)
        entries = _entries([review, *decisions, *_rows_of(facts), *(file.row for file in files)], exported.position)
    root, proofs = tree.prove({row["position"]: hash_of(row) for row in entries}, exported.position)
    language = language or translation.get_language() or "en"
    return CaseFile(review, exported, key, language, facts, decisions, entries, files, proofs, root)


def _entries(rows: Iterable[models.Model], size: int) -> list[dict[str, Any]]:
    found = AuditEntry.objects.using(router.db_for_write(AuditEntry)).filter(
        subject__in=list(map(subject_of, rows)), position__lte=size
    )
    entries: list[dict[str, Any]] = list(found.order_by("position").values(*COLUMNS)[: _MOST_ENTRIES + 1])
    if len(entries) > _MOST_ENTRIES:
        raise AuditError(f"A case file has at most {_MOST_ENTRIES} audit entries, and this case has more.")
    for row in entries:
        try:
            if keyring().is_authentic(authenticated(row), row["digest"]):
                continue
        except DoesNotOpen:
            continue  # under a removed key: the tree proves it
        raise AuditError(f"Audit entry {row['position']} was changed. `eprospera_audit --verify` says more.")
    return entries


def _rows_of(facts: PersonFacts | EntityFacts | None) -> list[models.Model]:
    if facts is None:
        return []
    if isinstance(facts, PersonFacts):
        rows = (facts.connection, facts.person, facts.residency, facts.verification)
        return [row for row in rows if row is not None]
    return [facts.entity]


def _files(facts: PersonFacts | EntityFacts | None) -> Iterator[_File]:
    rows = [row for row in (facts.files if facts else ()) if row.storage_name]
    if sum(row.size for row in rows) > _MOST_BYTES:
        raise DocumentError(
            "too_large", f"The files of a case have at most {_MOST_BYTES:,} bytes, and these have more."
        )
    for number, row in enumerate(rows, 1):
        extension = documents.EXTENSIONS.get(row.content_type, "bin")
        if isinstance(row, VerificationImage):
            yield _File(f"files/{row.kind}.{extension}", str(row.kind), row)
        else:
            yield _File(f"files/document-{number}.{extension}", _text(row, "name"), row)


def _read_now(facts: PersonFacts | EntityFacts | None, decisions: list[Decision]) -> None:
    """Read what is read once: the snapshot, and the decisions, which must open."""
    texts = [canonical(facts.snapshot if facts else None), canonical([digested(decision) for decision in decisions])]
    if max(map(len, texts)) > MAX_JSON // 2:
        raise DocumentError("too_large", "The facts or the decisions are too large for a case file.")


def _sections(facts: PersonFacts | EntityFacts | None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    rows: list[FactsModel | None] = []
    if isinstance(facts, PersonFacts):
        rows = [facts.person, facts.verification, facts.residency]
    elif facts is not None:
        rows = [facts.entity]
    for row in rows:
        if row is not None:
            fields = [cast("models.Field[Any, Any]", row._meta.get_field(name)) for name in row.review_names()]
            values = [(capfirst(str(each.verbose_name)), _text(row, each.name)) for each in fields]
            yield capfirst(str(row._meta.verbose_name)), values


def _text(row: models.Model, name: str) -> str:
    try:
        value = getattr(row, name)
    except SealedValueError:
        return _("cannot be decrypted")
    if value is None or value in ("", [], {}):
        return _("not given")
    said = in_words(name, value)
    return _utc(said) if isinstance(said, datetime) else str(said)


def _label(file: _File) -> str:
    return str(file.row.get_kind_display() if isinstance(file.row, VerificationImage) else visible(file.label))


def _decision(decision: Decision) -> dict[str, Any]:
    evidence = json.dumps(decision.evidence, indent=2, ensure_ascii=False, sort_keys=True)
    return {
        "outcome": decision.get_outcome_display(),
        "decided_at": _utc(decision.decided_at),
        "reviewer": visible(decision.reviewer_name),
        "reason": visible(decision.reason),
        "evidence": visible(evidence),
        "digest": decision.digest,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
