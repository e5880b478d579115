"""The sealed columns and blind indexes of all installed models, the site's own included, in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.apps import apps
from django.db import connections, router

from django_eprospera.crypto import prefix_of
from django_eprospera.fields import BlindIndexField, SealedField
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db import models

__all__ = ["Table", "tables"]

_PREFIX_LENGTH: Final = len(prefix_of("00000000"))
_PRESENT: Final = ("IS NOT NULL", "<> ''")  # a blind index is never null


@dataclass(frozen=True)
class Table:
    """One table, with its sealed columns and blind indexes, in SQL of the database `using`."""

    using: str
    model: type[models.Model]
    sealed: tuple[SealedField, ...]
    indexes: tuple[BlindIndexField, ...]

    def quote(self, name: str) -> str:
        """Quote the name of a column or table."""
        return connections[self.using].ops.quote_name(name)

    @property
    def name(self) -> str:
        """The quoted name of the table."""
        return self.quote(self.model._meta.db_table)

    @property
    def key(self) -> str:
        """The quoted name of the primary key's column."""
        column = self.model._meta.pk.column
        assert column is not None  # the fields' system check refuses composite keys
        return self.quote(column)

    def column(self, field: SealedField | BlindIndexField) -> str:
        """The quoted name of a field's column."""
        assert field.column is not None  # only a many-to-many field has none
        return self.quote(field.column)

    def prefix(self, field: SealedField | BlindIndexField) -> str:
        """SQL of the prefix of a field's column, which names the key."""
        return f"SUBSTR({self.column(field)}, 1, {_PREFIX_LENGTH})"

    def present(self, field: SealedField | BlindIndexField) -> str:
        """SQL condition for the rows that have a value in the field's column."""
        return f"{self.column(field)} {_PRESENT[isinstance(field, BlindIndexField)]}"

    def outdated(self) -> tuple[str, list[str]]:
        """SQL condition, with parameters, for the rows that hold anything under an older key."""
        keys = keyring()
        newest = [(field, keys.current) for field in self.sealed] + [
            (index, keys.current_index) for index in self.indexes
        ]
        conditions = [f"({self.present(field)} AND {self.prefix(field)} <> %s)" for field, _ in newest]
        return f"({' OR '.join(conditions)})", [prefix_of(key_id) for _, key_id in newest]


def tables(using: str) -> Iterator[Table]:
    """Yield the tables of a database that have sealed columns, without those that are not migrated yet."""
    connection = connections[using]
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
    for model in apps.get_models(include_auto_created=True):
        meta = model._meta
        if meta.proxy or meta.swapped or meta.db_table not in present or not router.allow_migrate_model(using, model):
            continue
        fields = [field for field in meta.local_concrete_fields if isinstance(field, (SealedField, BlindIndexField))]
        if not fields:
            continue
        with connection.cursor() as cursor:
            columns = {column.name for column in connection.introspection.get_table_description(cursor, meta.db_table)}
        there = [field for field in fields if field.column in columns]
        yield Table(
            using,
            model,
            tuple(field for field in there if isinstance(field, SealedField)),
            tuple(field for field in there if isinstance(field, BlindIndexField)),
        )
