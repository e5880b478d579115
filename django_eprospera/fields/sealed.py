"""Base class of sealed fields: decrypts on first access, seals for one row, and refuses writes that have no row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet
from django.core import checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from django_eprospera.crypto import DoesNotOpen, Moved, Secret
from django_eprospera.errors import SealedLookupError, SealedValueError, UnsealableWrite
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# django-encrypted-model-fields builds a cipher when it is imported, and fails without a valid key. That cipher is never used
# here. So the site can start far enough for the system check that reports what is wrong with FIELD_ENCRYPTION_KEY.
try:
    from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField
except ImproperlyConfigured:
    from django.test.utils import override_settings  # with Django's test client, which no process needs otherwise

    with override_settings(FIELD_ENCRYPTION_KEY=Fernet.generate_key()):
        from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField

__all__ = [
    "UNLOADED",
    "Bound",
    "EncryptedDateField",
    "EncryptedTextField",
    "Sealed",
    "SealedField",
    "sealed_fields",
]

_LABEL_ID, _OPTION_ID, _KEY_ID = "eprospera.E101", "eprospera.E102", "eprospera.E103"
_LABEL: Final = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")


class Sealed:
    """The ciphertext of one column, as `values()` and rows that were not accessed hold it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<sealed>"


# Stands for a value that was not loaded.
UNLOADED: Final = Sealed("")


class Bound(Sealed):
    """A value that was sealed for a known row and may be written to it. Made by `SealedField.seal`."""

    __slots__ = ()


class _SealedAttribute(DeferredAttribute):
    """Decrypt a sealed value on first access, with the row's primary key."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed) and not isinstance(value, Bound):  # loaddata writes a Bound value as it is
            value = instance.__dict__[self.field.attname] = self.field.open(value, instance)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        if type(value) is str and getattr(self.field, "secret", False):
            value = Secret(value)
        instance.__dict__[self.field.attname] = value


class SealedField(EncryptedMixin):  # type: ignore[misc]
    """A field whose value is sealed. `label`, such as `person.name`, binds values to the field and must never change."""

    descriptor_class = _SealedAttribute
    attname: str
    column: str
    name: str
    model: type[models.Model]

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
        self.label = label
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, kwargs = super().deconstruct()
        return name, f"django_eprospera.fields.{type(self).__name__}", args, {**kwargs, "label": self.label}

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found: list[checks.CheckMessage] = super().check(**kwargs)
        if not _LABEL.fullmatch(self.label):
            found.append(
                checks.Error(f"label must have the form `noun.field`, not {self.label!r}.", obj=self, id=_LABEL_ID)
            )
        found += [
            checks.Error(f"A sealed field cannot have {option}.", obj=self, id=_OPTION_ID)
            for option in ("unique", "db_index", "primary_key", "auto_now", "auto_now_add")
            if getattr(self, option, False)
        ]
        key = self.model._meta.pk
        if isinstance(key, (models.AutoField, models.CompositePrimaryKey)):
            hint = "Give the model a primary key that is known before the row is written, such as a UUIDField with a default."
            found.append(checks.Error("A sealed field is bound to its row's primary key.", hint, obj=self, id=_KEY_ID))
        return found

    # The value as text, and back
    def to_text(self, value: Any) -> str:
        """Return the value as text to seal. Raises ValueError, TypeError or ValidationError for a value of another kind."""
        return str(value)

    def from_text(self, text: str) -> Any:
        """Return the value that `to_text` was called with. Raises ValueError for any other text."""
        return text

    # Opening and sealing
    def owner(self, primary_key: Any) -> bytes:
        """Return the owner, for `keyring().open`, of this field's value in the row with this primary key."""
        return f"{self.label}\0{self.model._meta.pk.to_python(primary_key)}".encode()

    def open(self, sealed: Sealed, instance: models.Model) -> Any:
        """Decrypt a value of this field in `instance`.

        Raises SealedValueError if it does not open, ConfigurationError without a key.
        """
        try:
            text = keyring().open(self.owner(instance.pk), sealed.text)
        except DoesNotOpen as error:
            raise self._closed(instance, str(error)) from None
        try:
            return self.from_text(text.decode())
        except ValueError:
            del text
            raise self._closed(instance, f"the decrypted text is not a value of a {type(self).__name__}") from None

    def seal(self, value: Any, instance: models.Model) -> Bound:
        """Seal a value for this field of `instance`.

        Raises UnsealableWrite without a primary key and for a value of another kind, ConfigurationError without a key.
        """
        where = f"{self.model._meta.label}.{self.name}"
        if instance.pk is None:
            raise UnsealableWrite(f"{where} is bound to the primary key of its row: set that before saving.")
        if isinstance(value, Sealed | bytes | memoryview) or hasattr(value, "resolve_expression"):
            raise UnsealableWrite(f"{where} must be a plain value, not {type(value).__name__}.")
        try:
            plain = self.to_text(value).encode()
        except (TypeError, ValueError, ValidationError):  # their messages quote the value
            raise UnsealableWrite(
                f"{where} is a {type(self).__name__}, which does not accept this {type(value).__name__}."
            ) from None
        return Bound(keyring().seal(self.owner(instance.pk), plain))

    def _closed(self, instance: models.Model, why: str) -> SealedValueError:
        return SealedValueError(
            f"{self.model._meta.label}.{self.name} of row {instance.pk} does not open: {why}. Nothing was changed. "
            "Put the key back into FIELD_ENCRYPTION_KEY, or restore the row from a backup."
        )

    # Database values
    def from_db_value(self, value: str | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def pre_save(self, instance: models.Model, add: bool) -> Bound | None:  # noqa: FBT001 - Django's signature
        value = instance.__dict__.get(self.attname, UNLOADED)
        if value is UNLOADED:  # deferred, and named in `update_fields`
            value = getattr(instance, self.attname)
        if value is None or isinstance(value, Bound):
            return value
        if isinstance(value, Sealed):
            return self._unopened(value, instance, add=add)
        return self.seal(value, instance)

    def _unopened(self, value: Sealed, instance: models.Model, *, add: bool) -> Bound:
        """Return the ciphertext of a value that was not accessed. Raises if it would never open in the row that is written."""
        try:
            keyring().open(self.owner(instance.pk), value.text)
        except Moved:
            raise UnsealableWrite(
                f"{self.model._meta.label}.{self.name} of row {instance.pk} was sealed for another row. Nothing was "
                "written. To copy a row, read its sealed fields before you change the primary key."
            ) from None
        except DoesNotOpen as error:
            if add:
                raise self._closed(instance, str(error)) from None
        return Bound(value.text)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        if isinstance(value, Bound):
            return value.text
        raise UnsealableWrite(
            f"{self.model._meta.label}.{self.name} is sealed for its row, which update(), bulk_update() and expressions "
            "do not name. Assign the value to an instance and save() it."
        )

    # Python values
    def to_python(self, value: Any) -> Any:
        # Skip EncryptedMixin, which would decrypt the input of a form.
        return value if value is None or isinstance(value, Sealed) else super(EncryptedMixin, self).to_python(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.pre_save(obj, add=False)
        return "" if value is None else value.text

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise SealedLookupError(
            f"{self.model._meta.label}.{self.name} is sealed: equal values have different ciphertexts, so {lookup_name!r} "
            "would match nothing. Use `isnull`, or search the field's blind index."
        )

    def get_transform(self, lookup_name: str) -> Any:
        return self.get_lookup(lookup_name)


def sealed_fields(model: type[models.Model]) -> list[SealedField]:
    """Return the sealed fields of a model and its parents."""
    return [field for field in model._meta.concrete_fields if isinstance(field, SealedField)]
