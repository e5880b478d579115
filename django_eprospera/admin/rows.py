"""Values of a row as admin pages show them: plain, masked, missing or unreadable. The templates escape them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from django_eprospera.errors import SealedValueError
from django_eprospera.fields import SealedField
from django_eprospera.wording import in_words, visible

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import Model

__all__ = ["MASK", "Row", "Section", "row", "rows", "sealed_names", "short"]

MASK: Final = "••••"

# Number of characters at the end of a masked value that are shown.
_KEPT: Final = {"resident_permit_number": 4}


@dataclass(frozen=True)
class Row:
    """A label and a value; `state` is `plain`, `masked`, `missing`, `unreadable` or `text`."""

    label: str
    value: Any = field(repr=False)  # Django logs the whole context of a template that misses a variable
    state: str = "plain"
    name: str = ""


@dataclass(frozen=True)
class Section:
    """Rows under a heading."""

    title: str
    rows: tuple[Row, ...]


def row(instance: Model, name: str, *, unmasked: bool) -> Row:
    """Return the value of one field; a sealed one is masked unless `unmasked`."""
    column = instance._meta.get_field(name)
    label = capfirst(str(getattr(column, "verbose_name", name)))
    try:
        value = getattr(instance, name)
    except SealedValueError:
        return Row(label, _("cannot be decrypted"), "unreadable", name)
    if value is None or value in ("", [], {}):
        return Row(label, _("not given"), "missing", name)
    if isinstance(column, SealedField) and not unmasked:
        return Row(label, _masked(value, _KEPT.get(name, 0)), "masked", name)
    said = getattr(instance, f"get_{name}_display", None)
    return Row(label, said() if said else in_words(name, value), "plain", name)


def rows(instance: Model, names: Iterable[str], *, unmasked: bool) -> tuple[Row, ...]:
    """Return the values of several fields, in the order of `names`."""
    return tuple(row(instance, name, unmasked=unmasked) for name in names)


def sealed_names(model: type[Model], names: Iterable[str]) -> list[str]:
    """Return those of the names that are sealed fields, for audit entries."""
    return [name for name in names if isinstance(model._meta.get_field(name), SealedField)]


def short(moment: datetime | None) -> str:
    """Return a time in a short format, for a column."""
    return date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT") if moment else "–"


def _masked(value: Any, kept: int) -> str:
    # Always as many dots, whatever the length.
    return MASK + visible(value[-kept:]) if kept and isinstance(value, str) and len(value) > 2 * kept else MASK
