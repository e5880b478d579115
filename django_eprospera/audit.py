"""How is an event noted so that nobody can change or drop it unseen? The only writer of audit entries; no facts, no views.

The entries form a chain: each one's digest covers the entry and the digest before it. Whoever can write to the database could
forge the whole chain anew, or cut its end off; that shows only against a digest noted somewhere else. Note the head down from
time to time (`manage.py eprospera_audit --verify` prints it) and hand it back with `--expect-head`.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from django.db import IntegrityError, connections, router, transaction
from django.db.models import Model
from django.utils import timezone

from django_eprospera.errors import AuditError
from django_eprospera.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ["Report", "record", "verify"]

# What stands before the first entry.
GENESIS: Final = "0" * 64

# Somebody else's entry costs one attempt; more than this at once is a fault and not traffic.
_ATTEMPTS: Final = 200

_BATCH: Final = 2_000
_FIELDS: Final = ("position", "at", "action", "actor_id", "actor_ref", "subject", "detail", "previous", "digest")


@dataclass(frozen=True)
class Report:
    """What a walk along the chain found. `problem` is empty when the chain holds; else `position` is the first bad one."""

    entries: int
    head: str
    position: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """The chain holds."""
        return not self.problem


def record(
    action: AuditEntry.Action,
    subject: Model | str,
    *,
    actor: Any = None,
    detail: Mapping[str, str | int | bool | Sequence[str]] | None = None,
) -> AuditEntry:
    """Append an entry to the chain, in the caller's transaction if there is one.

    `subject` is a row, or text of the form `model label:primary key`; `actor` is the user, None for the site itself;
    `detail` names fields and codes, never values. Raises AuditError when the entry cannot be added.
    """
    actor_ref = "" if actor is None else str(actor.pk)
    values = {
        "action": AuditEntry.Action(action).value,
        "actor_ref": actor_ref,
        "subject": subject_of(subject) if isinstance(subject, Model) else subject,
        "detail": _plain(detail or {}),
    }
    alias = router.db_for_write(AuditEntry)
    for _ in range(_ATTEMPTS):
        try:
            with _turn(alias):
                return _append(alias, values, None if actor is None else actor.pk)
        except IntegrityError:
            continue  # somebody else took the position
    raise AuditError("The audit entry could not be added: the end of the chain kept moving. Try again.")


def subject_of(row: Model) -> str:
    """Return how audit entries name a row: `model label:primary key`."""
    return f"{row._meta.label_lower}:{row.pk}"


def verify(expect_head: str = "") -> Report:
    """Walk the whole chain and report the first position that was edited, moved or removed.

    `expect_head` is a digest noted earlier: a chain that does not hold it was cut short or forged anew.
    """
    position, head, seen = 0, GENESIS, not expect_head or expect_head == GENESIS
    rows = AuditEntry.objects.order_by("position").values(*_FIELDS)
    for row in rows.iterator(chunk_size=_BATCH):
        expected = position + 1
        if row["position"] != expected:
            return Report(position, head, expected, f"entry {expected} is missing; the next one is {row['position']}")
        if row["previous"] != head:
            return Report(position, head, expected, f"entry {expected} does not follow the one before it")
        if row["digest"] != _digest(row):
            return Report(position, head, expected, f"entry {expected} was changed after it was written")
        if row["actor_id"] is not None and str(row["actor_id"]) != row["actor_ref"]:
            return Report(
                position, head, expected, f"entry {expected} points to another actor than it was written with"
            )
        position, head = expected, row["digest"]
        seen = seen or head == expect_head
    if not seen:
        return Report(
            position, head, position + 1, "the expected head is not in the chain: its end was removed or rewritten"
        )
    return Report(position, head)


def canonical_digest(value: Any) -> str:
    """SHA-256, in hexadecimal, over the one JSON text that equal values of plain JSON types have."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@contextmanager
def _turn(alias: str) -> Iterator[None]:
    connection = connections[alias]
    if connection.features.has_select_for_update:
        with transaction.atomic(using=alias):
            # Who holds the first row appends; the others wait for it in order instead of colliding at the end.
            AuditEntry.objects.using(alias).select_for_update().filter(position=1).values_list("pk").first()
            yield
    elif connection.in_atomic_block:
        with transaction.atomic(using=alias):
            yield
    else:
        # SQLite without a transaction: one statement reads, one writes, and the unique position decides between two writers.
        # A transaction that begins by reading could not write once another one has.
        yield


def _append(alias: str, values: dict[str, Any], actor_id: Any) -> AuditEntry:
    newest = AuditEntry.objects.using(alias).order_by("-position").values_list("position", "digest").first()
    position, previous = newest or (0, GENESIS)
    row = {**values, "position": position + 1, "at": timezone.now(), "previous": previous}
    entry = AuditEntry(**row, actor_id=actor_id, digest=_digest(row))
    entry.save(using=alias, force_insert=True)
    return entry


def _digest(row: Mapping[str, Any]) -> str:
    at: datetime = row["at"]
    covered = ("position", "action", "actor_ref", "subject", "detail", "previous")
    return canonical_digest({"at": at.astimezone(UTC).isoformat(), **{name: row[name] for name in covered}})


def _plain(detail: Mapping[str, Any]) -> dict[str, Any]:
    # Types that every database's JSON gives back as they were; a float would not be one.
    for value in detail.values():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(item, (str, int)) for item in values):
            raise AuditError(
                "The detail of an audit entry holds names and codes: texts, whole numbers, or lists of texts."
            )
    return {name: list(value) if isinstance(value, tuple) else value for name, value in detail.items()}
