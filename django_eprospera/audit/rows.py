"""Digests of the rows that gates and reviewers rely on, as audit entries contain them.

The digest authenticates the decrypted values, so that a new encryption key alone does not change it.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from django_eprospera.keys import keyring
from django_eprospera.models import (
    Decision,
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    Review,
)

if TYPE_CHECKING:
    from django.db.models import Model

__all__ = ["COVERED", "DELETED", "NEVER_DELETED", "is_unchanged", "key_holder", "state_of", "subject_of"]

# Columns whose change is detected. The rest of a document describes its file, and is written with it.
COVERED: Final[dict[type[Model], tuple[str, ...]]] = {
    NaturalPerson: ("connection_id", *NaturalPerson.fact_names()),
    Residency: ("connection_id", *Residency.fact_names()),
    IdVerification: ("connection_id", *IdVerification.fact_names()),
    LegalEntity: ("issuer", *LegalEntity.fact_names()),
    EntityDocument: ("entity_id", "document_id", "name", "slug"),
    EntityConsent: ("connection_id", "entity_id", "shared_at", "withdrawn_at"),
    Review: (
        "subject_kind", "subject", "status", "checks", "checks_version", "evaluate_at", "opened_at", "queued_at",
        "decided_at",
    ),
    Decision: (
        "review_id", "outcome", "reviewer_id", "reviewer_name", "reason", "evidence", "digest", "decided_at",
    ),
}  # fmt: skip
NEVER_DELETED: Final[tuple[type[Model], ...]] = (Review, Decision)

# Foreign keys that become NULL when the referenced row is deleted. An entry contains them in plain text.
_SET_NULL: Final[dict[type[Model], tuple[str, ...]]] = {Review: ("user", "entity")}

# In place of the digest of a row that was deleted.
DELETED: Final = "-"


def subject_of(row: Model) -> str:
    """Return the name of a row in audit entries: `model label:primary key`."""
    return f"{row._meta.label_lower}:{row.pk}"


def state_of(row: Model) -> str:
    """Return the name of a row with the digest of its values, and its foreign keys that may become NULL.

    Raises SealedValueError if a value cannot be decrypted.
    """
    return " ".join((subject_of(row), keyring().authenticate(_text(row)), *_references(row)))


def key_holder(state: str) -> str:
    """Return the digest of a state, which names its key."""
    return state.split(" ")[1]


def is_unchanged(row: Model, state: str) -> bool:
    """Return whether a row has the values that `state_of` was called with.

    A foreign key of a row that does not exist any more may be NULL. Raises DoesNotOpen if the key of the digest is missing,
    and SealedValueError if a value cannot be decrypted.
    """
    _subject, code, *references = state.split(" ")
    if not keyring().is_authentic(_text(row), code):
        return False
    pairs = zip(_SET_NULL.get(type(row), ()), references, _references(row), strict=True)
    return all(now == then or (not now and not _exists(row, name, then)) for name, then, now in pairs)


def _references(row: Model) -> list[str]:
    keys = (getattr(row, f"{name}_id") for name in _SET_NULL.get(type(row), ()))
    return ["" if key is None else str(key) for key in keys]


def _exists(row: Model, name: str, key: str) -> bool:
    related: Any = row._meta.get_field(name).related_model
    return bool(related._base_manager.filter(pk=key).exists())  # noqa: SLF001 - Django's documented name


def _text(row: Model) -> bytes:
    values = {name: getattr(row, name) for name in COVERED[type(row)]}
    text = json.dumps([subject_of(row), values], sort_keys=True, default=_plain, allow_nan=False)
    return b"row\0" + text.encode("ascii")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)
