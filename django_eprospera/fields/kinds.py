"""Sealed fields for text, dates, instants and plain JSON."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.dateparse import parse_datetime

from django_eprospera.crypto import Secret, looks_sealed
from django_eprospera.fields.sealed import EncryptedDateField, EncryptedTextField, SealedField

__all__ = ["SealedDateField", "SealedDateTimeField", "SealedJSONField", "SealedTextField"]


class SealedTextField(SealedField, EncryptedTextField):  # type: ignore[misc]
    """Sealed text. With `secret=True`, `repr` of the value hides it (tokens)."""

    def __init__(self, *args: Any, label: str, secret: bool = False, **kwargs: Any) -> None:
        self.secret = secret
        super().__init__(*args, label=label, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "secret": True} if self.secret else kwargs

    def from_text(self, text: str) -> str:
        return Secret(text) if self.secret else text


class _FixtureText(SealedField):
    """Pass text to serializers, which write other types as they are instead of calling `value_to_string`."""

    def value_from_object(self, obj: models.Model) -> str | None:
        value = getattr(obj, self.attname)
        return None if value is None else self.to_text(value)


class SealedDateField(_FixtureText, EncryptedDateField):  # type: ignore[misc]
    """A sealed calendar date."""

    def to_python(self, value: Any) -> Any:
        # A ciphertext is not a date, so it comes from a fixture and is checked when the row is saved.
        return value if isinstance(value, str) and looks_sealed(value) else super().to_python(value)

    def to_text(self, value: Any) -> str:
        parsed = self.to_python(value)
        if not isinstance(parsed, date):
            raise TypeError("not a date")
        return parsed.isoformat()

    def from_text(self, text: str) -> date:
        return date.fromisoformat(text)


class SealedDateTimeField(_FixtureText, EncryptedTextField):  # type: ignore[misc]
    """A sealed aware datetime, stored in UTC. (The library's own field shifts it by the time zone on SQLite.)"""

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or looks_sealed(value):
            return value
        parsed = parse_datetime(value)
        if parsed is None:
            raise ValidationError(models.DateTimeField.default_error_messages["invalid"], "invalid", {"value": value})
        return parsed

    def to_text(self, value: Any) -> str:
        parsed = self.to_python(value)
        if not isinstance(parsed, datetime) or parsed.tzinfo is None:
            raise TypeError("not an aware datetime")
        return parsed.astimezone(UTC).isoformat()

    def from_text(self, text: str) -> datetime:
        return datetime.fromisoformat(text)

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        """Return a form field that shows and accepts the site's local time."""
        kwargs.pop("widget", None)  # the admin would give it a text area
        return models.Field.formfield(self, form_class=forms.DateTimeField, **kwargs)


class SealedJSONField(_FixtureText, EncryptedTextField):  # type: ignore[misc]
    """A sealed value of plain JSON types. None is stored as NULL. Forms leave the field out."""

    def to_python(self, value: Any) -> Any:
        return value

    def to_text(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)

    def from_text(self, text: str) -> Any:
        return json.loads(text)

    def formfield(self, **_: Any) -> None:
        """Return None: a text box would turn every value into text."""
