"""Rotation of sealed files: write a new file, let the row name it, delete the old file.

A kill in between leaves a file that no row names. `eprospera_prune` deletes it.
"""

from __future__ import annotations

import uuid
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import QuerySet

from django_eprospera import documents
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.models.person import StoredFile
from django_eprospera.rotation.tables import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_eprospera.models import EntityDocument, VerificationImage
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
            row = rows.filter(pk=key).first()
            if row is not None and _rotate(row, rows, progress):
                progress.moved(files=1)


def _rotate(row: VerificationImage | EntityDocument, rows: QuerySet[Any], progress: Progress) -> bool:
    keys, storage, former = keyring(), documents.storage(), row.storage_name
    sealed = BytesIO()
    try:
        keys.seal_file(documents.owner_of(row), BytesIO(b"".join(documents.open_chunks(row))), sealed)
    except (SealedValueError, DocumentError) as error:
        progress.closed[f"{row._meta.label}, the file of row {row.pk}"] = str(error)
        return False
    name = storage.save(f"{documents.FOLDER}/{uuid.uuid4()}.sealed", ContentFile(sealed.getvalue()))
    # Not if a sync has replaced or removed the file meanwhile.
    moved = rows.filter(pk=row.pk, storage_name=former).update(storage_name=name, key_id=keys.current)
    transaction.on_commit(partial(storage.delete, former if moved else name), using=rows.db)
    return bool(moved)
