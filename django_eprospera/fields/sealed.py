"""What do all sealed fields have in common? Opening when looked at, sealing for one row, refusing what cannot do either."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet
from django.core import checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.test.utils import override_settings

from django_eprospera.crypto import DoesNotOpen, Moved, Secret
from django_eprospera.errors import SealedLookupError, SealedValueError, UnsealableWrite
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# django-encrypted-model-fields builds a cipher when it is imported, and fails without a good key. That cipher is never used
# here, so the site may start as far as the system check that reports what is wrong with FIELD_ENCRYPTION_KEY.
try:
    from encrypted_model_fields.fields import EncryptedDateField, EncryptedMixin, EncryptedTextField
except ImproperlyConfigured:
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
    """A sealed value as it lies in its column; what `values()` and unopened rows hold."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<sealed>"


# Stands for a value that was not loaded, and so was not looked at either.
UNLOADED: Final = Sealed("")


class Bound(Sealed):
    """A value that was sealed for a known row, and so may be written to that row. Made by `SealedField.seal`."""

    __slots__ = ()


class _SealedAttribute(DeferredAttribute):
    """Opens a sealed value when it is first looked at, with the row's own primary key."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed) and not isinstance(value, Bound):  # loaddata writes a bound one as it is
            value = instance.__dict__[self.field.attname] = self.field.open(value, instance)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        if type(value) is str and getattr(self.field, "secret", False):
            value = Secret(value)
        instance.__dict__[self.field.attname] = value


class SealedField(EncryptedMixin):  # type: ignore[misc]
    """What the sealed fields share. `label` binds a value to the field and must never change: `person.name`."""

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
                checks.Error(f"The label {self.label!r} is not of the form `noun.field`.", obj=self, id=_LABEL_ID)
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
        """The value as the text that is sealed. Raises ValueError or TypeError for what is no value of this field."""
        return str(value)

    def from_text(self, text: str) -> Any:
        """The value that `to_text` made the text from. Raises ValueError for a text it did not make."""
        return text

    # Opening and sealing
    def owner(self, primary_key: Any) -> bytes:
        """Whom a value of this field belongs to in the row with this primary key; `keyring().open` asks for it."""
        return f"{self.label}\0{self.model._meta.pk.to_python(primary_key)}".encode()

    def open(self, sealed: Sealed, instance: models.Model) -> Any:
        """Open a value of this field that lies in `instance`. Raises SealedValueError."""
        try:
            text = keyring().open(self.owner(instance.pk), sealed.text)
        except DoesNotOpen as error:
            raise self._closed(instance, str(error)) from None
        try:
            return self.from_text(text.decode())
        except ValueError:
            del text
            raise self._closed(instance, f"what was sealed is no value of a {type(self).__name__}") from None

    def seal(self, value: Any, instance: models.Model) -> Bound:
        """Seal a value for this field of `instance`, whose primary key has to be known. Raises UnsealableWrite."""
        where = f"{self.model._meta.label}.{self.name}"
        if instance.pk is None:
            raise UnsealableWrite(f"{where} is sealed for its row: give the row its primary key before it is saved.")
        if isinstance(value, Sealed | bytes | memoryview) or hasattr(value, "resolve_expression"):
            raise UnsealableWrite(f"{where} takes a plain value, not a {type(value).__name__}.")
        try:
            plain = self.to_text(value).encode()
        except (TypeError, ValueError, ValidationError):  # their texts quote the value
            raise UnsealableWrite(
                f"{where} does not take this {type(value).__name__}: see {type(self).__name__}."
            ) from None
        return Bound(keyring().seal(self.owner(instance.pk), plain))

    def _closed(self, instance: models.Model, why: str) -> SealedValueError:
        return SealedValueError(
            f"{self.model._meta.label}.{self.name} of row {instance.pk} does not open: {why}. Nothing was changed. "
            "Put the key back into FIELD_ENCRYPTION_KEY, or restore the row from a backup."
        )

    # The database's side
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
        """What was never looked at is written back as it lies, unless it would then lie in a row where it never opens."""
        try:
            keyring().open(self.owner(instance.pk), value.text)
        except Moved:
            raise UnsealableWrite(
                f"{self.model._meta.label}.{self.name} of row {instance.pk} was sealed for another row, and nothing was "
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
            "do not tell. Assign the value to an instance and save() it."
        )

    # Python's side
    def to_python(self, value: Any) -> Any:
        # Past EncryptedMixin, which would decrypt what a form hands in.
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
    """The sealed fields of a model, its parents' included."""
    return [field for field in model._meta.concrete_fields if isinstance(field, SealedField)]
