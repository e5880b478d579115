"""Counts of sealed values, files and blind index entries per key. Decrypts nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import Count

from django_eprospera.crypto import key_id_of
from django_eprospera.rotation.files import stored_files
from django_eprospera.rotation.tables import Table, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django_eprospera.fields import BlindIndexField, SealedField

__all__ = ["Counts", "census"]


@dataclass
class Counts:
    """How many sealed values, files and blind index entries need one key."""

    values: int = 0
    files: int = 0
    entries: int = 0

    def __bool__(self) -> bool:
        return bool(self.values or self.files or self.entries)

    def __str__(self) -> str:
        nouns = (
            (self.values, "value", "values"),
            (self.files, "file", "files"),
            (self.entries, "index entry", "index entries"),
        )
        return ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in nouns if count) or "nothing"


def census(using: str) -> Mapping[str, Counts]:
    """Return counts by key id over all sealed columns and files of a database. The id "" counts what is not sealed."""
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for table in tables(using):
        for field in table.sealed:
            for key_id, number in _by_key(table, field):
                counts[key_id].values += number
        for index in table.indexes:
            for key_id, number in _by_key(table, index):
                counts[key_id].entries += number
    for rows in stored_files(using):
        for key_id, number in rows.values_list("key_id").annotate(Count("pk")).order_by():
            counts[key_id].files += number
    return counts


def _by_key(table: Table, field: SealedField | BlindIndexField) -> Iterator[tuple[str, int]]:
    begins = table.prefix(field)
    query = f"SELECT {begins}, COUNT(*) FROM {table.name} WHERE {table.present(field)} GROUP BY {begins}"  # noqa: S608
    with connections[table.using].cursor() as cursor:
        cursor.execute(query)
        for prefix, number in cursor.fetchall():
            yield key_id_of(prefix), number
