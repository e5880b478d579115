"""Receivers that let `loaddata`, which saves rows raw, write sealed fields.

A ciphertext, as `dumpdata` wrote it, is kept if it opens in its row. Plain text, in a fixture written by hand, is sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_eprospera.crypto import looks_sealed
from django_eprospera.fields.blind_index import BlindIndexField
from django_eprospera.fields.sealed import Bound, Sealed, sealed_fields

if TYPE_CHECKING:
    from django.db import models

__all__ = ["after_raw_save", "before_raw_save"]


def before_raw_save(instance: models.Model, *, raw: bool = False, **_: Any) -> None:
    """Seal the values of a fixture for their row. Raises SealedValueError for another row's ciphertext."""
    if not raw:
        return
    for field in sealed_fields(type(instance)):
        value = instance.__dict__.get(field.attname)
        if isinstance(value, str) and looks_sealed(value):
            field.open(Sealed(value), instance)
            instance.__dict__[field.attname] = Bound(value)
        elif value is not None and not isinstance(value, Sealed):
            _index(instance, field.name, value)
            instance.__dict__[field.attname] = field.seal(value, instance)


def after_raw_save(instance: models.Model, *, raw: bool = False, **_: Any) -> None:
    """Make the values that were written readable again."""
    if not raw:
        return
    for field in sealed_fields(type(instance)):
        value = instance.__dict__.get(field.attname)
        if isinstance(value, Bound):
            instance.__dict__[field.attname] = Sealed(value.text)


def _index(instance: models.Model, source: str, value: Any) -> None:
    for field in instance._meta.concrete_fields:
        if isinstance(field, BlindIndexField) and field.source == source:
            instance.__dict__[field.attname] = field.index_of(value)
