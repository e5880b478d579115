"""Exact search over a sealed field, by a keyed hash of its normalised text in a column of its own."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.lookups import In

from django_eprospera.errors import SealedLookupError, UnsealableWrite
from django_eprospera.fields.sealed import UNLOADED, Sealed, SealedField
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["BlindIndexField", "normalise_digits", "normalise_email", "normalise_text"]

_ENTRY: Final = re.compile(r"1\.[0-9a-f]{8}\.[\w-]{43}", re.ASCII)
_SOURCE_ID: Final = "eprospera.E104"


def _fold(text: str) -> str:
    # Folding can undo what NFKC composed, and the other way round.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def normalise_text(text: str) -> str:
    """Ignore case, width and spaces: for document numbers and names."""
    return " ".join(_fold(text).split())


def normalise_email(text: str) -> str:
    """Ignore case and outer spaces."""
    return _fold(text).strip()


def normalise_digits(text: str) -> str:
    """Keep ASCII digits only: for permit numbers, however they are grouped."""
    return re.sub(r"[^0-9]", "", unicodedata.normalize("NFKC", text))


class _BlindExact(In):
    """`field="text"`: compares with the index of the text under every index key."""

    def __init__(self, lhs: Any, rhs: Any) -> None:
        if not isinstance(rhs, str):
            raise SealedLookupError(f"A blind index is searched for a str, not {type(rhs).__name__}.")
        field: BlindIndexField = lhs.output_field
        text = field.normalise(rhs)
        # An empty normalised text matches no row. Otherwise it would match all rows that have no value.
        super().__init__(lhs, keyring().indexes(field.label, text) if text else [])


class BlindIndexField(models.CharField):  # type: ignore[type-arg]
    """Exact search over a sealed field of a `SealedModel`: `filter(rpn_index="9000 0000 0042 17")`.

    `source` names the sealed field, `label` must never change, `normalise` is one of this module's functions. `save()` fills
    the column from the source with an HMAC under a key of its own. Do not index a value with few possibilities (a birth
    date, a country): an index shows which rows are equal.
    """

    def __init__(self, *args: Any, source: str, label: str, normalise: Callable[[str], str], **kwargs: Any) -> None:
        self.source = source
        self.label = label
        self.normalise = normalise
        kwargs.update(max_length=64, editable=False, db_index=True, blank=True, default="")
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, kwargs = super().deconstruct()
        for fixed in ("max_length", "editable", "db_index", "blank", "default"):
            kwargs.pop(fixed, None)
        options = {"source": self.source, "label": self.label, "normalise": self.normalise}
        return name, "django_eprospera.fields.BlindIndexField", args, {**kwargs, **options}

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found = super().check(**kwargs)
        try:
            source = self.model._meta.get_field(self.source)
        except FieldDoesNotExist:
            source = None
        if not isinstance(source, SealedField) or source.model is not self.model:
            found.append(
                checks.Error(
                    f"source must name a sealed field of this model, not {self.source!r}.", obj=self, id=_SOURCE_ID
                )
            )
        # An attribute and not the class, because the module of that class imports this one.
        if not getattr(self.model, "keeps_blind_indexes", False):
            found.append(
                checks.Error("A model with a BlindIndexField must derive from SealedModel.", obj=self, id=_SOURCE_ID)
            )
        return found

    def index_of(self, value: Any) -> str:
        """Return the blind index of a value under the newest key, or an empty string for an empty value."""
        text = self.normalise(str(value)) if value else ""
        return keyring().index(self.label, text) if text else ""

    def pre_save(self, instance: models.Model, add: bool) -> str:  # noqa: FBT001, ARG002 - Django's signature
        source = instance.__dict__.get(self.source, UNLOADED)
        if not isinstance(source, Sealed):
            setattr(instance, self.attname, self.index_of(source))
        return str(getattr(instance, self.attname))  # a source that was not accessed was not changed

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if value == "" or (isinstance(value, str) and _ENTRY.fullmatch(value)):
            return super().get_db_prep_save(value, connection)
        raise UnsealableWrite(
            f"{self.model._meta.label}.{self.name} is filled by save() from {self.source!r}. Assign to that and save()."
        )

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "exact":
            return _BlindExact
        raise SealedLookupError(
            f"{self.model._meta.label}.{self.name} is a blind index, which only supports exact lookups, not {lookup_name!r}. "
            f"For rows without a value, use `{self.source}__isnull`."
        )

    def get_transform(self, lookup_name: str) -> Any:
        return self.get_lookup(lookup_name)
