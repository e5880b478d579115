"""Rotation of sealed files and their thumbnails: write a new file, let the row name it, delete the old file.

A kill in between leaves a file that no row names. `eprospera_prune` deletes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet

from django_eprospera import documents
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.models import VerificationImage
from django_eprospera.models.person import StoredFile
from django_eprospera.rotation.tables import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_eprospera.models import EntityDocument
    from django_eprospera.rotation.rows import Progress

__all__ = ["outdated_files", "rotate_files", "stored_files"]


def stored_files(using: str) -> Iterator[QuerySet[Any]]:
    """Yield a queryset per model of the rows that have a file."""
    for table in tables(using):
        if issubclass(table.model, StoredFile):
            yield QuerySet(table.model, using=using).exclude(storage_name="")


def outdated_files(using: str) -> Iterator[QuerySet[Any]]:
    """Yield a queryset per model of the rows whose file is sealed under an older key."""
    for rows in stored_files(using):
        yield rows.exclude(key_id=keyring().current)


def rotate_files(using: str, progress: Progress) -> None:
    """Seal the files again under the newest key. A file that does not open is left alone and recorded in `progress`."""
    for rows in outdated_files(using):
        # List the keys first, then read each row when its turn comes.
        for key in list(rows.order_by("pk").values_list("pk", flat=True)):
            if _rotate(rows.filter(pk=key), progress):
                progress.moved(files=1)


def _rotate(rows: QuerySet[Any], progress: Progress) -> bool:
    """Seal the file of one row again. Returns False if it does not open, or if the row is no longer outdated."""
    row: VerificationImage | EntityDocument | None = rows.first()
    while row is not None:
        problem = _move(row, rows)
        if problem is None:
            return True
        # A sync or another run may have replaced or removed the file meanwhile. Then the row as it is now decides.
        former, row = row, rows.first()
        if row is not None and row.storage_name == former.storage_name:
            progress.closed[f"{row._meta.label}, the file of row {row.pk}"] = problem
            return False
    return False


def _move(row: VerificationImage | EntityDocument, rows: QuerySet[Any]) -> str | None:
    """Replace the file that the row names. Returns what prevented it."""
    former = row.storage_name
    try:
        content = b"".join(documents.open_chunks(row))
        thumbnail = documents.stored_thumbnail(row) if isinstance(row, VerificationImage) else None
    except (SealedValueError, DocumentError) as error:
        return str(error)
    name = documents.save(row, content)
    if isinstance(row, VerificationImage) and thumbnail:
        documents.save_thumbnail(row, name, row.digest or "", thumbnail)
    moved = rows.filter(storage_name=former).update(storage_name=name, key_id=keyring().current)
    transaction.on_commit(partial(documents.delete, former if moved else name), using=rows.db)
    return None if moved else "The row was changed meanwhile."
