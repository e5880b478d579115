"""Model fields that are encrypted, authenticated and bound to their row, based on django-encrypted-model-fields.

What they guarantee, and that library by itself does not:

- A value that does not open raises `SealedValueError`, which names model, field and primary key. The ciphertext is never
  returned as the value, and saving the row writes the same ciphertext back.
- A value is decrypted on first access. A list decrypts only what it shows, and one bad row does not break a queryset.
- A ciphertext opens only in its field (a fixed `label`, independent of the field's name) and its row (the primary key).
- Assigned text is never decrypted. Keys are read when they are used.
- Lookups other than `isnull` raise an error, and so do `update()`, `bulk_update()` and expressions.
- `dumpdata` and pickles contain ciphertext; `loaddata` accepts it for the same row.

Sorting by a sealed field sorts by ciphertext. Django gives a field no way to refuse that.
"""

from __future__ import annotations

from django_eprospera.fields.blind_index import BlindIndexField, normalise_digits, normalise_email, normalise_text
from django_eprospera.fields.kinds import SealedDateField, SealedDateTimeField, SealedJSONField, SealedTextField
from django_eprospera.fields.model import SealedModel, SealedQuerySet
from django_eprospera.fields.sealed import Sealed, SealedField

__all__ = [
    "BlindIndexField",
    "Sealed",
    "SealedDateField",
    "SealedDateTimeField",
    "SealedField",
    "SealedJSONField",
    "SealedModel",
    "SealedQuerySet",
    "SealedTextField",
    "normalise_digits",
    "normalise_email",
    "normalise_text",
]
