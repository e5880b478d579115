"""Reader of one JSON object, field by field, that accepts only the expected types and sizes. No Django.

Unknown fields are ignored; an absent field and null are the same. A wrong type, a text that is too long or not well
formed raises MalformedAnswer, which names the field by its path and never quotes the value.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django_eprospera.errors import MalformedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_ITEMS", "MAX_TEXT", "Reader"]

T = TypeVar("T")
MAX_TEXT: Final = 1000
MAX_ITEMS: Final = 200
# Half a surrogate pair cannot be encoded, and PostgreSQL takes no NUL.
_MALFORMED: Final = re.compile("[\0\ud800-\udfff]")


class Reader:
    """One JSON object. `what` names the resource in errors, `at` the place of this object in it."""

    __slots__ = ("_at", "_value", "_what")

    def __init__(self, value: Any, what: str, at: str = "") -> None:
        """Raises MalformedAnswer if `value` is not an object."""
        self._what = what
        self._at = at
        if not isinstance(value, dict):
            raise self._wrong("", "wrong_type", "an object")
        self._value: dict[str, Any] = value

    def text(self, name: str, limit: int = MAX_TEXT) -> str | None:
        """A string of at most `limit` characters, or None."""
        value = self._value.get(name)
        return None if value is None else self._text(value, name, limit)

    def required_text(self, name: str, limit: int = MAX_TEXT) -> str:
        """A required string that is not empty."""
        value = self.text(name, limit)
        if not value:
            raise self._wrong(name, "missing", "a string")
        return value

    def text_or_number(self, name: str, limit: int = MAX_TEXT) -> str | None:
        """A string, or a number as a string (docs/provider.md#variants, line 10)."""
        value = self._value.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        return None if value is None else self._text(value, name, limit)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; empty when there is none."""
        return tuple(self._text(item, f"{name}[{n}]", MAX_TEXT) for n, item in enumerate(self._list(name)))

    def flag(self, name: str) -> bool | None:
        """A boolean, or None."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "wrong_type", "true or false")
        return value

    def required_flag(self, name: str) -> bool:
        """A required boolean."""
        value = self.flag(name)
        if value is None:
            raise self._wrong(name, "missing", "true or false")
        return value

    def uuid(self, name: str) -> uuid.UUID:
        """A required UUID."""
        value = self.required_text(name)
        try:
            return uuid.UUID(value)
        except ValueError:
            pass
        raise self._wrong(name, "wrong_format", "a UUID")

    def calendar_date(self, name: str) -> date | None:
        """The day of a date or timestamp as it is written, never moved by a time zone (docs/provider.md#formats)."""
        value = self.text(name)
        if value is None:
            return None
        try:
            if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:$|[T ])", value):
                return date.fromisoformat(value[:10])
        except ValueError:
            pass
        raise self._wrong(name, "wrong_format", "a date")

    def moment(self, name: str) -> datetime | None:
        """A timestamp in UTC. Without an offset it is UTC already; a date alone is its midnight."""
        value = self.text(name)
        if value is None:
            return None
        try:
            if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:$|[T ])", value):
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise self._wrong(name, "wrong_format", "a timestamp")

    def object(self, name: str) -> Reader | None:
        """An object, or None."""
        value = self._value.get(name)
        return None if value is None else Reader(value, self._what, self._path(name))

    def objects(self, name: str, read: Callable[[Reader], T]) -> tuple[T, ...]:
        """A required list, each of its objects read by `read`."""
        if self._value.get(name) is None:
            raise self._wrong(name, "missing", "a list")
        path = self._path(name)
        return tuple(read(Reader(item, self._what, f"{path}[{n}]")) for n, item in enumerate(self._list(name)))

    def _list(self, name: str) -> list[Any]:
        value = self._value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "wrong_type", "a list")
        if len(value) > MAX_ITEMS:
            raise self._wrong(name, "too_long", f"at most {MAX_ITEMS} items")
        return value

    def _text(self, value: Any, name: str, limit: int) -> str:
        if not isinstance(value, str):
            raise self._wrong(name, "wrong_type", "a string")
        if len(value) > limit:
            raise self._wrong(name, "too_long", f"at most {limit} characters")
        if _MALFORMED.search(value):
            raise self._wrong(name, "wrong_format", "well-formed text")
        return value

    def _path(self, name: str) -> str:
        return f"{self._at}.{name}" if self._at and name else self._at or name

    def _wrong(self, name: str, code: str, wanted: str) -> MalformedAnswer:
        place = self._path(name) or "The whole answer"
        return MalformedAnswer("read", self._what, code, advice=f"{place} must be {wanted}.")
