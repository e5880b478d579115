"""Values of the provider as text for pages: translated words, days in their own time zone, invisible controls made visible."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["RESIDENCY_TYPES", "in_words", "visible"]

# By field and value. A value that is not listed is shown as the provider sent it.
_WORDS: Final[dict[tuple[str, str], _StrPromise | str]] = {
    ("sex", "M"): gettext_lazy("male"),
    ("sex", "F"): gettext_lazy("female"),
    ("residency_type", "Resident"): gettext_lazy("Resident"),
    ("residency_type", "e-Resident"): gettext_lazy("e-Resident"),
    ("residency_type", "Limited e-Resident"): gettext_lazy("Limited e-Resident"),
    ("document_type", "passport"): gettext_lazy("passport"),
    ("document_type", "national_id"): gettext_lazy("identity card"),
    ("document_type", "drivers_license"): gettext_lazy("driving licence"),
    ("document_type", "residence_permit"): gettext_lazy("residence permit"),
    ("document_type", "visa"): gettext_lazy("visa"),
    ("document_type", "other"): gettext_lazy("other document"),
    ("status", "approved"): gettext_lazy("approved"),
    ("type", "Limited Liability Company"): gettext_lazy("Limited Liability Company"),
    ("type", "For-Profit Corporation"): gettext_lazy("For-Profit Corporation"),
    ("kind", "veriff"): "Veriff",  # a name, the same in every language
}
RESIDENCY_TYPES: Final = tuple(value for name, value in _WORDS if name == "residency_type")
# Days that the provider sends as midnight UTC. In another time zone that can be the day before.
_DAYS: Final = {"effective_date", "termination_date"}
_ADDRESS: Final = ("line1", "line2", "city", "state", "postal_code", "postalCode", "country")
# Embeddings, overrides and isolates (Unicode Standard Annex 9): they let a text show other letters than it has.
_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def visible(text: Any) -> str:
    """Return a text with its bidirectional controls replaced by their code points, such as `[U+202E]`."""
    return _DIRECTION.sub(lambda control: f"[U+{ord(control[0]):04X}]", str(text))


def in_words(name: str, value: Any) -> Any:
    """Return the value of a field as text. Dates, times and numbers are left to the template's localisation."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).date() if name in _DAYS else value
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return visible(", ".join(str(item) for item in value))
    if isinstance(value, dict) and set(value) & set(_ADDRESS):
        return visible("\n".join(str(value[part]) for part in _ADDRESS if value.get(part)))
    return visible(_WORDS.get((name, value), value)) if isinstance(value, str) else value
