"""How does a model keep a value sealed? Fields on django-encrypted-model-fields, with its hazards closed.

What a sealed field promises, and the library by itself does not:

- A value that does not open raises `SealedValueError`, which names model, field and primary key; it is never returned as it
  lies, and saving the row writes the same ciphertext back.
- A value opens when it is looked at, row by row: a list opens nothing that it does not show, and one bad row spoils no list.
- A ciphertext opens only in its field (a fixed `label`, which a rename does not change) and its row (the primary key).
- Assigned text is text, never decrypted. Keys are read when used.
- Lookups other than `isnull` raise; `update()`, `bulk_update()` and expressions raise instead of storing something else.
- `dumpdata` writes the ciphertext, which `loaddata` takes back into the same row; so does a pickle of the row.

Sorting by a sealed field sorts by ciphertext, which Django gives a field no way to refuse.
"""

from __future__ import annotations

from django_eprospera.fields.blind_index import BlindIndexField, normalise_digits, normalise_email, normalise_text
from django_eprospera.fields.kinds import SealedDateField, SealedDateTimeField, SealedJSONField, SealedTextField
from django_eprospera.fields.model import SealedModel, SealedQuerySet
from django_eprospera.fields.sealed import Bound, Sealed, SealedField

__all__ = [
    "BlindIndexField",
    "Bound",
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
