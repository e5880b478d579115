"""Appends audit entries, and computes their hashes and digests."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from django.db import IntegrityError, connections, router, transaction
from django.db.models import Max, Model, Subquery
from django.utils import timezone

from django_eprospera.audit import anchor
from django_eprospera.audit.rows import DELETED, state_of, subject_of
from django_eprospera.errors import AuditError
from django_eprospera.keys import keyring
from django_eprospera.models import AuditEntry
from django_eprospera.verify import GENESIS, canonical, entry_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["COLUMNS", "GENESIS", "authenticated", "canonical_digest", "hash_of", "plain", "record"]

COLUMNS: Final = ("position", "at", "action", "actor_id", "subject", "before", "detail", "rows", "previous", "digest")

# Another process's entry costs one attempt; more than this at once is an error.
_ATTEMPTS: Final = 200


def record(
    action: AuditEntry.Action,
    subject: Model | str,
    *,
    actor: Any = None,
    detail: Mapping[str, str | int | bool | Sequence[str]] | None = None,
    rows: Iterable[Model] = (),
    deleted: Iterable[str] = (),
) -> AuditEntry:
    """Append an entry to the chain, in the caller's transaction if there is one, and anchor it after the commit.

    `subject` is a row, or text of the form `model label:primary key`; `actor` is the user, None for the site itself; `detail`
    contains names of fields and codes, never values. In the same transaction, `rows` were written, and the rows named in
    `deleted` were deleted. Call this last in a transaction, because its lock is held until the end. Raises AuditError if the
    entry cannot be added, and ConfigurationError without a key.
    """
    states = [*map(state_of, rows), *(f"{name} {DELETED}" for name in deleted)]
    values = {
        "action": AuditEntry.Action(action).value,
        "actor_id": None if actor is None else actor.pk,
        "subject": _name(subject),
        "detail": _plain(detail or {}),
        "rows": states,
    }
    alias = router.db_for_write(AuditEntry)
    for _ in range(_ATTEMPTS):
        try:
            with _turn(alias):
                entry = _append(alias, values)
        except IntegrityError:
            continue  # another process took the position
        _anchor_on_commit(alias, entry)
        return entry
    raise AuditError("The audit entry could not be added: the end of the chain kept moving. Try again.")


def canonical_digest(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the one JSON text that equal values of plain JSON types have."""
    return hashlib.sha256(canonical(value)).hexdigest()


def hash_of(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all columns of an entry, which the next entry contains."""
    return entry_hash(plain(row, COLUMNS))


def plain(row: Mapping[str, Any], names: Sequence[str] = COLUMNS) -> dict[str, Any]:
    """Return columns of an entry as the plain JSON types that its hash and digest are about."""
    actor = "" if row["actor_id"] is None else str(row["actor_id"])
    values = {**row, "at": row["at"].astimezone(UTC).isoformat(), "actor_id": actor}
    return {name: values[name] for name in names}


def authenticated(row: Mapping[str, Any]) -> bytes:
    """Return what the digest of an entry authenticates: all of its other columns."""
    return b"entry\0" + canonical(plain(row, COLUMNS[:-1]))


def _anchor_on_commit(alias: str, entry: AuditEntry) -> None:
    head = hash_of({name: getattr(entry, name) for name in COLUMNS})
    # A lambda and no partial: Django logs a failed robust hook by its name.
    transaction.on_commit(lambda: anchor.store(entry.position, head), using=alias, robust=True)


@contextmanager
def _turn(alias: str) -> Iterator[None]:
    connection = connections[alias]
    if connection.features.has_select_for_update:
        with transaction.atomic(using=alias):
            # The holder of the first row appends; the others wait for it in order instead of colliding at the end.
            AuditEntry.objects.using(alias).select_for_update().filter(position=1).values_list("pk").first()
            yield
    elif connection.in_atomic_block:
        with transaction.atomic(using=alias):
            yield
    else:
        # SQLite without a transaction: one statement reads, one writes, and the primary key decides between two writers.
        # A transaction that begins by reading could not write once another one has.
        yield


def _append(alias: str, values: dict[str, Any]) -> AuditEntry:
    entries = AuditEntry.objects.using(alias)
    # An entry about no row, such as a search, belongs to no case.
    about = entries.filter(subject="" if values["subject"].endswith(":") else values["subject"])
    before = about.order_by().values("subject").annotate(last=Max("position")).values("last")
    newest = entries.order_by("-position").annotate(before_=Subquery(before)).values("before_", *COLUMNS).first()
    position, previous = (newest["position"], hash_of(newest)) if newest else (0, GENESIS)
    row = {
        **values, "position": position + 1, "at": timezone.now(), "previous": previous,
        "before": (newest and newest["before_"]) or 0,
    }  # fmt: skip
    entry = AuditEntry(**row, digest=keyring().authenticate(authenticated(row)))
    entry.save(using=alias, force_insert=True)
    return entry


def _name(row: Model | str) -> str:
    return subject_of(row) if isinstance(row, Model) else row


def _plain(detail: Mapping[str, Any]) -> dict[str, Any]:
    # Types that every database's JSON returns unchanged, which a float is not.
    for value in detail.values():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(item, (str, int)) for item in values):
            raise AuditError(
                "The detail of an audit entry must consist of names and codes: strings, integers, or lists of strings."
            )
    return {name: list(value) if isinstance(value, tuple) else value for name, value in detail.items()}
