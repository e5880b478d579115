"""Values of a row as admin pages show them: plain, masked, missing or unreadable. The templates escape them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_eprospera.errors import SealedValueError
from django_eprospera.fields import SealedField

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import Model
    from django.utils.functional import _StrPromise

__all__ = ["MASK", "Row", "Section", "in_words", "row", "rows", "sealed_names", "short"]

MASK: Final = "••••"

# Number of characters at the end of a masked value that are shown.
_KEPT: Final = {"resident_permit_number": 4}

# The provider's values, as pages show them.
_WORDS: Final[dict[tuple[str, str], _StrPromise | str]] = {
    ("sex", "M"): gettext_lazy("male"),
    ("sex", "F"): gettext_lazy("female"),
    ("document_type", "passport"): gettext_lazy("passport"),
    ("document_type", "national_id"): gettext_lazy("identity card"),
    ("document_type", "drivers_license"): gettext_lazy("driving licence"),
    ("document_type", "residence_permit"): gettext_lazy("residence permit"),
    ("document_type", "visa"): gettext_lazy("visa"),
    ("document_type", "other"): gettext_lazy("other document"),
    ("status", "approved"): gettext_lazy("approved"),
    ("kind", "veriff"): "Veriff",  # a name, the same in every language
}
# Days that the provider sends as midnight UTC. In another time zone that can be the day before.
_DAYS: Final = {"effective_date", "termination_date"}
_ADDRESS: Final = ("line1", "line2", "city", "state", "postal_code", "postalCode", "country")


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


def in_words(name: str, value: Any) -> Any:
    """Return a value as text. Other types than text, lists, addresses and booleans are left to the template's localisation."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).date() if name in _DAYS else value
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict) and set(value) & set(_ADDRESS):
        return "\n".join(str(value[part]) for part in _ADDRESS if value.get(part))
    return str(_WORDS.get((name, value), value)) if isinstance(value, str) else value


def short(moment: datetime | None) -> str:
    """Return a time in a short format, for a column."""
    return date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT") if moment else "–"


def _masked(value: Any, kept: int) -> str:
    # Always as many dots, whatever the length.
    return MASK + value[-kept:] if kept and isinstance(value, str) and len(value) > 2 * kept else MASK
