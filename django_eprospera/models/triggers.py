"""Database triggers that refuse changes of audit entries and decisions, on PostgreSQL and SQLite.

The first migration creates them. A migration that makes SQLite rebuild one of the tables has to create them again. Sealed
columns of decisions may be written, because key rotation does; the audit chain detects a changed value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["create", "drop"]

_TABLES: Final = {
    "django_eprospera_auditentry": (
        "position", "at", "action", "actor_id", "subject", "before", "detail", "rows", "previous", "digest",
    ),
    "django_eprospera_decision": ("id", "review_id", "outcome", "reviewer_id", "digest", "decided_at"),
}  # fmt: skip
_FUNCTION: Final = "django_eprospera_append_only"
_MESSAGE: Final = "is append-only: rows are never changed or deleted (django-eprospera, docs/operations.md)"


def create(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers. Does nothing on other databases."""
    drop(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$BEGIN RAISE EXCEPTION '% {_MESSAGE}', TG_TABLE_NAME; END$$"
            )
        for trigger, table, event in _triggers():
            if connection.vendor == "postgresql":
                cursor.execute(
                    f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}()"
                )
            elif connection.vendor == "sqlite":
                cursor.execute(
                    f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} {_MESSAGE}'); END"
                )


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers, for example to erase the tables on purpose, or for a test runner that empties them."""
    with connection.cursor() as cursor:
        for trigger, table, _event in _triggers():
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
            elif connection.vendor == "sqlite":
                cursor.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP FUNCTION IF EXISTS {_FUNCTION}()")


def _triggers() -> Iterator[tuple[str, str, str]]:
    for table, columns in _TABLES.items():
        quoted = ", ".join(f'"{column}"' for column in columns)
        yield f"{table}_no_update", table, f"UPDATE OF {quoted}"
        yield f"{table}_no_delete", table, "DELETE"
