"""How does a model keep a value sealed? Fields on django-encrypted-model-fields, with its hazards closed.

What a sealed field promises, and the library by itself does not:

- A value that does not open raises `SealedValueError`, which names model, field and primary key; it is never returned as it
  lies, and saving the row writes the same ciphertext back.
- A value opens when it is looked at, row by row: a list opens nothing that it does not show, and one bad row spoils no list.
- A ciphertext opens only in its field (a fixed `label`, which a rename does not change) and its row (the primary key).
- Assigned text is text, never decrypted. Keys are read when used.
- Lookups other than `isnull` raise; `update()`, `bulk_update()` and expressions raise instead of storing something else.
- `dumpdata` writes the ciphertext, which `loaddata` takes back into the same row.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from cryptography.fernet import Fernet
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.lookups import In
from django.db.models.query_utils import DeferredAttribute
from django.test.utils import override_settings
from django.utils.dateparse import parse_datetime

from django_eprospera.crypto import DoesNotOpen, Secret
from django_eprospera.errors import SealedLookupError, SealedValueError, UnsealableWrite
from django_eprospera.keys import keyring

try:
    from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField
except ImproperlyConfigured:
    # The library builds a cipher when it is imported, and fails without a good key. We never use that cipher; let the site
    # start as far as the system check that says what is wrong with FIELD_ENCRYPTION_KEY.
    with override_settings(FIELD_ENCRYPTION_KEY=Fernet.generate_key()):
        from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "BlindIndexField",
    "Sealed",
    "SealedDateField",
    "SealedDateTimeField",
    "SealedJSONField",
    "SealedModel",
    "SealedTextField",
    "normalise_digits",
    "normalise_email",
    "normalise_text",
]

_LABEL = re.compile(r"[a-z_]+\.[a-z_]+")


class Sealed:
    """A sealed value as it lies in its column; what `values()` and unopened rows hold."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<sealed>"


class _SealedAttribute(DeferredAttribute):
    """Opens a sealed value when it is first looked at, with the row's own primary key."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = self.field.open(value, instance)
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class _SealedMixin(EncryptedMixin):  # type: ignore[misc]
    descriptor_class = _SealedAttribute
    attname: str
    name: str
    model: type[models.Model]

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
        self.label = label
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "label": self.label}

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found: list[checks.CheckMessage] = super().check(**kwargs)
        if not _LABEL.fullmatch(self.label):
            found.append(checks.Error(f"The label {self.label!r} is not of the form `noun.field`.", obj=self))
        return found

    # The value as text, and back
    def to_text(self, value: Any) -> str:
        return str(value)

    def from_text(self, text: str) -> Any:
        return text

    # Opening
    def open(self, sealed: Sealed, instance: models.Model) -> Any:
        """Open a value of this field that lies in `instance`. Raises SealedValueError."""
        try:
            return self.from_text(keyring().open(self._owner(instance), sealed.text).decode())
        except DoesNotOpen as error:
            msg = (
                f"{self.model._meta.label}.{self.name} of row {instance.pk} does not open: {error}. "
                "Nothing was changed. Put the key back into FIELD_ENCRYPTION_KEY, or restore the row."
            )
            raise SealedValueError(msg) from None

    def seal(self, value: Any, instance: models.Model) -> Sealed:
        """Seal a value for this field of `instance`, whose primary key has to be known."""
        if instance.pk is None:
            raise UnsealableWrite(f"{self.model._meta.label} needs its primary key before {self.name} can be sealed.")
        return Sealed(keyring().seal(self._owner(instance), self.to_text(value).encode()))

    def _owner(self, instance: models.Model) -> bytes:
        primary_key = instance._meta.pk.to_python(instance.pk)
        return f"{self.label}\0{primary_key}".encode()

    # The database's side
    def from_db_value(self, value: str | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def pre_save(self, instance: models.Model, add: bool) -> Sealed | None:  # noqa: FBT001 - Django's signature
        value = instance.__dict__.get(self.attname)
        if value is None:
            return None
        if isinstance(value, Sealed):
            if add:
                # A row copied under a new key: its ciphertext would never open again.
                self.open(value, instance)
            return value
        return self.seal(value, instance)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        if isinstance(value, Sealed):
            return value.text
        if isinstance(value, str) and self._is_ciphertext(value):
            return value  # loaddata: a row as dumpdata wrote it
        msg = (
            f"{self.model._meta.label}.{self.name} is sealed for its row, which update(), bulk_update() and expressions "
            "do not tell. Assign the value to an instance and save() it."
        )
        raise UnsealableWrite(msg)

    def _is_ciphertext(self, text: str) -> bool:
        try:
            # For whose row it is shows when it is opened there; here it has to be ours at all.
            keyring().open(b"", text)
        except DoesNotOpen as error:
            return "another row" in str(error)
        return False

    # Python's side
    def to_python(self, value: Any) -> Any:
        # Past EncryptedMixin, which would decrypt what a form hands in.
        return value if value is None or isinstance(value, Sealed) else super(EncryptedMixin, self).to_python(value)

    def value_to_string(self, instance: models.Model) -> str:
        value = instance.__dict__.get(self.attname)
        if value is None:
            return ""
        return (value if isinstance(value, Sealed) else self.seal(value, instance)).text

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        msg = (
            f"{self.model._meta.label}.{self.name} is sealed: equal values have different ciphertexts, so {lookup_name!r} "
            "would match nothing. Use `isnull`, or search the field's blind index."
        )
        raise SealedLookupError(msg)

    def get_transform(self, lookup_name: str) -> Any:
        return self.get_lookup(lookup_name)


class SealedTextField(_SealedMixin, EncryptedTextField):  # type: ignore[misc]
    """Sealed text. With `secret=True` the opened value does not show itself in `repr` (tokens)."""

    def __init__(self, *args: Any, label: str, secret: bool = False, **kwargs: Any) -> None:
        self.secret = secret
        super().__init__(*args, label=label, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "secret": True} if self.secret else kwargs

    def from_text(self, text: str) -> str:
        return Secret(text) if self.secret else text


class _FixtureText(_SealedMixin):
    """For types that a serializer would write as they are: hand it text, so that it asks `value_to_string`."""

    def value_from_object(self, obj: models.Model) -> str | None:
        value = super().value_from_object(obj)
        return None if value is None else self.to_text(value)

    def to_python(self, value: Any) -> Any:
        # A ciphertext is no date, so it can only be a fixture's: left as it is, a raw save stores it.
        return value if isinstance(value, str) and self._is_ciphertext(value) else super().to_python(value)


class SealedDateField(_FixtureText, EncryptedDateField):  # type: ignore[misc]
    """A sealed calendar date."""

    def to_text(self, value: Any) -> str:
        parsed = self.to_python(value)
        if not isinstance(parsed, date):
            raise UnsealableWrite(f"{self.name} needs a date.")
        return parsed.isoformat()

    def from_text(self, text: str) -> date:
        return date.fromisoformat(text)


class SealedDateTimeField(_FixtureText, EncryptedTextField):  # type: ignore[misc]
    """A sealed instant, kept in UTC. (The library's own date-time field shifts by the time zone on SQLite.)"""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and not self._is_ciphertext(value):
            return parse_datetime(value)
        return value

    def to_text(self, value: Any) -> str:
        parsed = self.to_python(value)
        if not isinstance(parsed, datetime) or parsed.tzinfo is None:
            raise UnsealableWrite(f"{self.name} needs an aware datetime.")
        return parsed.astimezone(UTC).isoformat()

    def from_text(self, text: str) -> datetime:
        return datetime.fromisoformat(text)


class SealedJSONField(_SealedMixin, EncryptedTextField):  # type: ignore[misc]
    """A sealed value of plain JSON types. Change it by assigning a new value."""

    def to_python(self, value: Any) -> Any:
        return value

    def to_text(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)

    def from_text(self, text: str) -> Any:
        return json.loads(text)


def normalise_text(text: str) -> str:
    """Case, width and spaces do not count: document numbers and names."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normalise_email(text: str) -> str:
    """Case and outer spaces do not count."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def normalise_digits(text: str) -> str:
    """Only ASCII digits count: permit numbers, however they are grouped."""
    return re.sub(r"[^0-9]", "", unicodedata.normalize("NFKC", text))


class _BlindExact(In):
    """`field="text"`: compares with the index of the text under every index key."""

    def __init__(self, lhs: Any, rhs: Any) -> None:
        if not isinstance(rhs, str):
            raise SealedLookupError("A blind index is searched for a text, as it would be written.")
        field: BlindIndexField = lhs.output_field
        super().__init__(lhs, keyring().indexes(field.label, field.normalise(rhs)))


class BlindIndexField(models.CharField):  # type: ignore[type-arg]
    """Exact search over a sealed field: `filter(rpn_index="9000 0000 0042 17")`.

    `source` names the sealed field, `label` is fixed like a sealed field's, `normalise` is one of this module's functions.
    The column is written by `save()` from the source; it holds an HMAC under a key of its own. Do not index what has few
    values (a birth date, a country): an index shows which rows are equal.
    """

    lookups: ClassVar[dict[str, Any]] = {"exact": _BlindExact}

    def __init__(self, *args: Any, source: str, label: str, normalise: Callable[[str], str], **kwargs: Any) -> None:
        self.source = source
        self.label = label
        self.normalise = normalise
        kwargs.update(max_length=64, editable=False, db_index=True, blank=True, default="")
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        for fixed in ("max_length", "editable", "db_index", "blank", "default"):
            kwargs.pop(fixed, None)
        return name, path, args, {**kwargs, "source": self.source, "label": self.label, "normalise": self.normalise}

    def pre_save(self, instance: models.Model, add: bool) -> str:  # noqa: FBT001, ARG002 - Django's signature
        present = instance.__dict__.get(self.source)
        if isinstance(present, Sealed):
            return str(getattr(instance, self.attname))  # unopened, so unchanged
        value = self.index_of(present)
        setattr(instance, self.attname, value)
        return value

    def index_of(self, value: str | None) -> str:
        """Return the blind index of a value under the newest key; empty for an empty value."""
        text = self.normalise(value) if value else ""
        return keyring().index(self.label, text) if text else ""

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name in self.lookups:
            return self.lookups[lookup_name]
        msg = f"{self.model._meta.label}.{self.name} is a blind index: only an exact search works on it."
        raise SealedLookupError(msg)

    def get_transform(self, lookup_name: str) -> Any:
        return self.get_lookup(lookup_name)


class SealedModel(models.Model):
    """A model with sealed fields. Its save() keeps a blind index in step with its source also under `update_fields`."""

    class Meta:
        abstract = True

    def save(self, *args: Any, update_fields: Any = None, **kwargs: Any) -> None:
        if update_fields is not None:
            indexes = (field for field in self._meta.concrete_fields if isinstance(field, BlindIndexField))
            update_fields = {*update_fields, *(field.name for field in indexes if field.source in update_fields)}
        super().save(*args, update_fields=update_fields, **kwargs)
