"""Base class of models with sealed fields: blind indexes follow their source, pickles are sealed, unsafe upserts raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from django_eprospera.errors import UnsealableWrite
from django_eprospera.fields.blind_index import BlindIndexField
from django_eprospera.fields.sealed import UNLOADED, Sealed, sealed_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SealedModel", "SealedQuerySet"]


class SealedQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """Refuse an upsert that would write values sealed for the new row into an existing one."""

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        if kwargs.get("update_conflicts") and set(kwargs.get("unique_fields") or ()) - {"pk", self.model._meta.pk.name}:
            raise UnsealableWrite(
                f"{self.model._meta.label} has sealed fields. An upsert on other fields than the primary key could "
                "write them into a row with another key, where they never open. Nothing was written. Use update_or_create()."
            )
        return super().bulk_create(objs, *args, **kwargs)


class SealedModel(models.Model):
    """A model with sealed fields. Blind indexes follow their source also with `update_fields`; pickles hold ciphertext."""

    keeps_blind_indexes = True

    objects = SealedQuerySet.as_manager()

    class Meta:
        abstract = True

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle and copy, sealed again so that a cache holds no plain text."""
        state: dict[str, Any] = super().__getstate__()
        for field in sealed_fields(type(self)):
            value = state.get(field.attname)
            if value is not None and not isinstance(value, Sealed):
                state[field.attname] = Sealed(field.seal(value, self).text)
        return state

    def save(self, *args: Any, update_fields: Any = None, **kwargs: Any) -> None:
        for index in self._meta.concrete_fields:
            if not isinstance(index, BlindIndexField):
                continue
            if update_fields is not None and index.source in update_fields:
                update_fields = {*update_fields, index.name}
            if not isinstance(self.__dict__.get(index.source, UNLOADED), Sealed):
                # Django leaves a deferred field out of the UPDATE. pre_save() of the index computes the value.
                self.__dict__.setdefault(index.attname, "")
        super().save(*args, update_fields=update_fields, **kwargs)
