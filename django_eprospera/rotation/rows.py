"""Rotation of sealed columns while the site is in use.

A batch of rows is read, sealed again in memory, and written only where the columns still hold what was read. A row that was
saved by another process in between is left for the next pass. No lock is held while values are sealed, and a transaction
writes one batch. The prefix of each value names its key, so a run that was killed is continued by running again.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from django.db import OperationalError, connections, transaction

from django_eprospera.crypto import DoesNotOpen, prefix_of
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from django_eprospera.crypto import Keyring
    from django_eprospera.fields import BlindIndexField, SealedField
    from django_eprospera.rotation.tables import Table

__all__ = ["Progress", "count_outdated", "rotate_rows"]

# A row that another process saves under the old key in every pass is left for the next run.
_PASSES: Final = 10
_TRIES: Final = 5


def _silent(_: Progress) -> None:
    return


@dataclasses.dataclass
class Progress:
    """Counters of a run. `report` is called after each step; `closed` maps values that do not open to the reason."""

    report: Callable[[Progress], None] = _silent
    rows: int = 0
    files: int = 0
    closed: dict[str, str] = dataclasses.field(default_factory=dict)

    def moved(self, *, rows: int = 0, files: int = 0) -> None:
        """Count what was sealed again."""
        self.rows += rows
        self.files += files
        self.report(self)


def count_outdated(table: Table) -> int:
    """Return how many rows hold anything under an older key."""
    condition, parameters = table.outdated()
    with connections[table.using].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table.name} WHERE {condition}", parameters)  # noqa: S608 - quoted names
        return int(cursor.fetchone()[0])


def rotate_rows(table: Table, progress: Progress, *, batch_size: int) -> None:
    """Seal the rows of a table again under the newest key. A value that does not open is left alone and recorded in `progress`.

    Raises RuntimeError inside a transaction, which would lock every row until its end.
    """
    if connections[table.using].in_atomic_block:
        raise RuntimeError("Keys must be rotated outside transactions: run this without atomic() around it.")
    # The thread writes one batch, over its own database connection, while the next batch is sealed.
    with ThreadPoolExecutor(1, "eprospera-rotation") as writer:
        try:
            for _ in range(_PASSES):
                if not _pass(table, progress, batch_size, writer):
                    return
        finally:
            writer.submit(connections.close_all)


def _pass(table: Table, progress: Progress, batch_size: int, writer: Executor) -> int:
    """Seal every outdated row once. Returns how many were not written because another process had saved them."""
    missed = 0
    waiting: list[tuple[int, Future[int]]] = []

    def finish() -> int:
        wanted, future = waiting.pop()
        progress.moved(rows=future.result())
        return wanted - future.result()

    for rows in _batches(table, batch_size):
        changes = _sealed_again(table, keyring(), rows, progress)
        if waiting:
            missed += finish()
        waiting.append((sum(map(len, changes.values())), writer.submit(_write, table, changes)))
    return missed + finish() if waiting else missed


def _batches(table: Table, size: int) -> Iterator[list[tuple[Any, ...]]]:
    fields: tuple[SealedField | BlindIndexField, ...] = (*table.sealed, *table.indexes)
    columns = ", ".join(map(table.column, fields))
    condition, parameters = table.outdated()
    after: list[Any] = []
    while True:
        further = f"{table.key} > %s AND " if after else ""
        query = (
            f"SELECT {table.key}, {columns} FROM {table.name} "  # noqa: S608 - quoted names
            f"WHERE {further}{condition} ORDER BY {table.key} LIMIT {size:d}"
        )
        with connections[table.using].cursor() as cursor:
            cursor.execute(query, [*after, *parameters])
            rows = cursor.fetchall()
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = [rows[-1][0]]


# By columns to change and columns that must be unchanged: per row the new values, the key, the old values.
_Changes = dict[tuple[tuple[str, ...], tuple[str, ...]], list[list[Any]]]


def _sealed_again(table: Table, keys: Keyring, rows: list[tuple[Any, ...]], progress: Progress) -> _Changes:
    changes: _Changes = defaultdict(list)
    current, current_index = prefix_of(keys.current), prefix_of(keys.current_index)
    width = len(table.sealed)
    for key, *values in rows:
        held = dict(zip((field.name for field in table.sealed), values[:width], strict=True))
        new: dict[str, str] = {}
        old: dict[str, str] = {}
        fixed: dict[str, str] = {}
        for field, text in zip(table.sealed, values[:width], strict=True):
            if text is None or text.startswith(current):
                continue
            try:
                new[field.column] = keys.reseal(field.owner(key), text)
            except DoesNotOpen as error:
                progress.closed[_place(table, field.name, key)] = str(error)
            else:
                old[field.column] = text
        for index, text in zip(table.indexes, values[width:], strict=True):
            if not text or text.startswith(current_index):
                continue
            source = next(field for field in table.sealed if field.name == index.source)
            lies = held[source.name]
            try:
                plain = None if lies is None else source.from_text(keys.open(source.owner(key), lies).decode())
            except (DoesNotOpen, ValueError) as error:
                why = (
                    str(error)
                    if isinstance(error, DoesNotOpen)
                    else "the decrypted text is not a value of its source field"
                )
                progress.closed[_place(table, index.name, key)] = why
                continue
            column = str(index.column)
            new[column], old[column] = index.index_of(plain), text
            if lies is not None and source.column not in old:
                fixed[source.column] = lies
        if new:
            changes[tuple(new), tuple(fixed)].append([*new.values(), key, *old.values(), *fixed.values()])
    return changes


def _place(table: Table, name: str, key: Any) -> str:
    return f"{table.model._meta.label}.{name} of row {table.model._meta.pk.to_python(key)}"


def _write(table: Table, changes: _Changes) -> int:
    """Write the rows that are still as they were read. Returns how many."""
    for attempt in range(1, _TRIES + 1):
        try:
            with transaction.atomic(using=table.using), connections[table.using].cursor() as cursor:
                return sum(_write_like(table, cursor, *columns, rows) for columns, rows in changes.items())
        except OperationalError:  # a deadlock, or SQLite's single writer
            if attempt == _TRIES:
                raise
            time.sleep(0.1 * attempt)
    return 0


def _write_like(
    table: Table, cursor: Any, changed: tuple[str, ...], fixed: tuple[str, ...], rows: list[list[Any]]
) -> int:
    assignments = ", ".join(f"{table.quote(column)} = %s" for column in changed)
    unchanged = "".join(f" AND {table.quote(column)} = %s" for column in (*changed, *fixed))
    query = f"UPDATE {table.name} SET {assignments} WHERE {table.key} = %s{unchanged}"  # noqa: S608 - quoted names
    cursor.executemany(query, rows)
    return int(cursor.rowcount)
