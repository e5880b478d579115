"""Verification of the audit chain, of its anchors, and of the rows whose digests it contains."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction

from django_eprospera.audit import anchor, tree
from django_eprospera.audit.chain import COLUMNS, GENESIS, authenticated, hash_of, record
from django_eprospera.audit.rows import COVERED, DELETED, NEVER_DELETED, is_unchanged, key_holder, subject_of
from django_eprospera.crypto import DoesNotOpen, key_id_of
from django_eprospera.errors import AuditError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.models import AuditEntry, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

__all__ = ["Report", "accept_head", "keys_in_use", "renew", "verify"]

_BATCH: Final = 2_000
# Rows that are written during the verification are compared again with the entries that were added meanwhile.
_PASSES: Final = 5


@dataclass(frozen=True)
class Report:
    """Result of a verification: number of valid entries, hash of the last of them, and everything that does not agree."""

    entries: int
    head: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.problems


def verify(expect_head: str = "") -> Report:
    """Verify every entry, the anchors in the storage, and the rows whose digests the entries contain.

    `expect_head` is a hash noted earlier, which the chain must contain. Raises what the storage raises.
    """
    anchors = list(anchor.stored())
    chain = _Chain(wanted={each.position for each in anchors}, expected=expect_head)
    chain.read()
    problems = list(chain.problems())
    problems += _anchors(chain, anchors)
    if expect_head not in ("", GENESIS) and not chain.expected_found:
        problems.append("the expected head is not in the chain: entries were removed or rewritten")
    report = Report(chain.position, chain.head)
    if not chain.problem:
        problems += tree.keep(chain.tree.roots)
        problems += _rows(chain)
    if not problems:
        # What other processes left. The highest one stays.
        anchor.remove(sorted(anchors, key=lambda each: each.position)[:-1])
    return Report(report.entries, report.head, tuple(problems))


def accept_head(actor: Any = None) -> AuditEntry:
    """Make the chain as it is the one to verify against: remove all anchors, and add an entry that says so.

    For a restored backup, or after the storage was lost. Raises AuditError if the chain itself is not valid, and what the
    storage raises.
    """
    chain = _Chain()
    chain.read()
    if problem := next(chain.problems(), ""):
        raise AuditError(f"The chain cannot be accepted: {problem}.")
    anchor.remove(anchor.stored())
    tree.forget_blocks()
    return record(AuditEntry.Action.ANCHORED, "django_eprospera.auditentry:", actor=actor, detail={"head": chain.head})


def keys_in_use() -> Counter[str]:
    """Return, by key, how many digests of rows would be unverifiable without it. Those of entries do not count.

    An entry contains the hash of the one before it, so that a later entry under a newer key proves the earlier ones.
    """
    chain = _Chain()
    chain.read()
    keys = Counter(key_id_of(key_holder(state)) for state in chain.states.values() if not _is_deletion(state))
    if chain.newest_key:
        keys[chain.newest_key] += 1
    return keys


def renew(batch_size: int = 500) -> int:
    """Add entries with digests under the newest key for rows whose digest is under an older one. Return the number of rows.

    A row that does not agree with its digest is left alone, so that `verify` goes on reporting it. Anchors that a newer one
    replaces are removed, because they may be signed under an older key. Raises AuditError if the chain itself is not valid,
    and what the storage raises.
    """
    anchors = list(anchor.stored())
    chain = _Chain(wanted={each.position for each in anchors})
    chain.read()
    if problem := next(chain.problems(), ""):
        raise AuditError(f"The digests of the audit chain were not renewed: {problem}.")
    current, renewed = keyring().current, 0
    for model in COVERED:
        outdated = _keys_of(chain, model, current)
        while keys := list(islice(outdated, batch_size)):
            with transaction.atomic(using=router.db_for_write(AuditEntry)):
                rows: Any = model._base_manager.select_for_update().filter(pk__in=keys)  # noqa: SLF001
                unchanged = [row for row in rows.order_by("pk") if not _difference(row, chain.states[subject_of(row)])]
                if unchanged:
                    record(AuditEntry.Action.STORED, "django_eprospera.auditentry:", rows=unchanged)
            renewed += len(unchanged)
    if not renewed and chain.newest_key not in ("", current):
        record(AuditEntry.Action.STORED, "django_eprospera.auditentry:")
    if not any(_anchors(chain, anchors)):
        newest = max(anchor.stored(), key=lambda each: each.position, default=None)
        anchor.remove(each for each in anchors if newest is not None and each.name != newest.name)
    return renewed


@dataclass
class _Chain:
    """The entries up to `position`, as far as they were read."""

    wanted: set[int] = field(default_factory=set)
    expected: str = ""
    position: int = 0
    head: str = GENESIS
    newest_key: str = ""
    problem: str = ""
    unproven: str = ""
    # The newest state of each row, by the row's name, and the hashes at the wanted positions.
    states: dict[str, str] = field(default_factory=dict)
    heads: dict[int, str] = field(default_factory=dict)
    expected_found: bool = False
    tree: tree.Roots = field(default_factory=tree.Roots)

    def read(self) -> None:
        """Read on to the end of the chain, or to the first entry that is not valid."""
        rows = AuditEntry.objects.filter(position__gt=self.position).order_by("position").values(*COLUMNS)
        iterator: Any = rows.iterator(chunk_size=_BATCH)
        try:
            with closing(iterator):
                self._read(iterator)
        except (TypeError, ValueError) as error:  # SQLite has columns whose value is not one of their type
            self.problem = f"an entry after {self.position} cannot be read: {type(error).__name__}"

    def _read(self, rows: Iterator[dict[str, Any]]) -> None:
        for row in rows:
            self.problem = self._problem(row)
            if self.problem:
                return
            self.position, self.head = row["position"], hash_of(row)
            self.tree.add(self.head)
            self.newest_key = key_id_of(row["digest"])
            if self.position in self.wanted:
                self.heads[self.position] = self.head
            self.expected_found |= self.head == self.expected
            for state in row["rows"]:
                self.states[state.split(" ")[0]] = state
            if row["action"] in (AuditEntry.Action.DISCONNECTED, AuditEntry.Action.ERASED):
                self._note_deletion(row)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the entries."""
        if self.problem or self.unproven:
            yield self.problem or self.unproven

    def _problem(self, row: dict[str, Any]) -> str:
        number = self.position + 1
        if row["position"] != number:
            return f"entry {number} is missing; the next one is {row['position']}"
        if row["previous"] != self.head:
            return f"entry {number} does not follow the one before it"
        try:
            if not keyring().is_authentic(authenticated(row), row["digest"]):
                return f"entry {number} was changed after it was written"
        except DoesNotOpen as error:
            # A later entry proves this one too, with the hash that it contains. Without a later one nothing does.
            self.unproven = f"entry {number} cannot be verified, nor is there a later one that can: {error}"
        else:
            self.unproven = ""
        return ""

    def _note_deletion(self, row: dict[str, Any]) -> None:
        # The entry of a withdrawn resource has the connection as its subject, which is not erased.
        if row["action"] == AuditEntry.Action.DISCONNECTED or row["detail"].get("cause") == "not_shared":
            self.states[row["subject"]] = f"{row['subject']} {DELETED}"


def _anchors(chain: _Chain, anchors: list[anchor.Anchor]) -> Iterator[str]:
    for each in anchors:
        if each.problem:
            yield each.problem
        elif each.position > chain.position and not chain.problem:
            yield (
                f"the chain ends with entry {chain.position}, but {each.name} knows entry {each.position}: entries were "
                "removed, or a backup was restored"
            )
        elif chain.heads.get(each.position, each.head) != each.head:
            yield f"entry {each.position} is not the one that {each.name} knows: the chain was rewritten"
    if chain.position and not anchors:
        yield "the storage has no anchor of the chain, so that the removal of entries cannot be detected"


def _rows(chain: _Chain) -> Iterator[str]:
    suspects: dict[str, tuple[type[Model], Any]] = {}
    for model in COVERED:
        missing = set(_keys_of(chain, model)) if model in NEVER_DELETED else set()
        rows = model._base_manager.order_by("pk")  # noqa: SLF001 - Django's documented name for any model's manager
        try:
            for row in rows.iterator(chunk_size=500):
                missing.discard(str(row.pk))
                if _difference(row, chain.states.get(subject_of(row))):
                    suspects[subject_of(row)] = (model, row.pk)
        except (TypeError, ValueError) as error:
            yield f"a row of {model._meta.label} cannot be read: {type(error).__name__}"
            continue
        suspects.update({f"{model._meta.label_lower}:{key}": (model, key) for key in missing})
    gone = [state.partition(" ")[0] for state in chain.states.values() if _is_deletion(state)]
    label = f"{Connection._meta.label_lower}:"
    suspects.update({name: (Connection, name.removeprefix(label)) for name in gone if name.startswith(label)})
    for _ in range(_PASSES):
        if not suspects:
            return
        chain.read()
        suspects = {name: each for name, each in suspects.items() if _problem_of(name, *each, chain)}
    for name, each in suspects.items():
        if problem := _problem_of(name, *each, chain):
            yield problem


def _problem_of(name: str, model: type[Model], key: Any, chain: _Chain) -> str:
    row = model._base_manager.filter(pk=key).first()  # noqa: SLF001
    if model is Connection:
        return f"{name} was disconnected, and is there again" if row is not None else ""
    if row is not None:
        return _difference(row, chain.states.get(name))
    return f"{name} was deleted" if model in NEVER_DELETED and name in chain.states else ""


def _difference(row: Model, state: str | None) -> str:
    name = subject_of(row)
    if state is None:
        return f"{name} is in no entry"
    if _is_deletion(state):
        return f"{name} was deleted, and is there again"
    try:
        return "" if is_unchanged(row, state) else f"{name} is not as its newest entry has it: it was changed"
    except (DoesNotOpen, SealedValueError) as error:
        return f"{name} cannot be compared: {error}"


def _keys_of(chain: _Chain, model: type[Model], newest_key: str = "") -> Iterator[str]:
    """Yield the primary keys of the model's rows in the chain, without deleted ones and those under the newest key."""
    label = f"{model._meta.label_lower}:"
    for name, state in chain.states.items():
        if name.startswith(label) and not _is_deletion(state) and key_id_of(key_holder(state)) != (newest_key or None):
            yield name.removeprefix(label)


def _is_deletion(state: str) -> bool:
    return key_holder(state) == DELETED
