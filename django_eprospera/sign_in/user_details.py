"""The details that are copied to Django's user model, in plain text: those that EPROSPERA_USER_FIELDS names.

The e-mail address is copied when the account is made and not changed afterwards: sites send passwords to it. Names follow the
provider at every sign-in. A username is never made of a person's data.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.validators import validate_email
from django.db.models import UniqueConstraint

from django_eprospera.conf import conf
from django_eprospera.errors import SignInRefused
from django_eprospera.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["creating_users", "fit_email", "user_details"]

_creating: ContextVar[bool] = ContextVar("eprospera_creating_users", default=False)


def user_details(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return details for python-social-auth's pipeline from OIDC claims; unknown and unsuitable ones are left out.

    `email` is always present, and empty if there is none: managers of user models expect text. See `fit_email`.
    """
    first, last = claims.get("given_name") or "", claims.get("family_name") or ""
    if not (first or last):
        first, _, last = (claims.get("name") or "").strip().partition(" ")
    wanted = conf.EPROSPERA_USER_FIELDS
    # Shown on any page of the site, so characters that change how a text reads are made visible here.
    names = {"first_name": visible(first.strip()), "last_name": visible(last.strip())}
    details = {name: _fitted(name, value) for name, value in names.items() if value and name in wanted}
    return {"email": _email(claims.get("email") or "") if "email" in wanted else "", **details}


@contextmanager
def creating_users() -> Iterator[None]:
    """Context in which `fit_email` applies to new users: while a pipeline runs, and not where the site creates its own."""
    token = _creating.set(True)
    try:
        yield
    finally:
        _creating.reset(token)


def fit_email(instance: Any, **_: Any) -> None:
    """Store NULL for a new user without an e-mail address where that is unique: a second empty one would be a conflict.

    Receiver of `pre_save`. A step of the site's pipeline before `create_user` can put another address into `details`. Raises
    SignInRefused `email_missing` where the column takes no NULL.
    """
    name = type(instance).get_email_field_name()
    if not _creating.get() or not instance._state.adding or getattr(instance, name, None):
        return
    try:
        field = instance._meta.get_field(name)
    except FieldDoesNotExist:
        return
    alone = (constraint.fields == (name,) for constraint in instance._meta.constraints if _is_plain(constraint))
    if not field.unique and not any(alone):
        return
    if not field.null:
        raise SignInRefused("email_missing", "pipeline")
    setattr(instance, name, None)


def _is_plain(constraint: Any) -> bool:
    return isinstance(constraint, UniqueConstraint) and constraint.condition is None


def _email(value: str) -> str:
    try:
        validate_email(value)
    except ValidationError:
        return ""
    return value if _fitted("email", visible(value)) == value else ""


def _fitted(name: str, value: str) -> str:
    try:
        longest = getattr(get_user_model()._meta.get_field(name), "max_length", None)
    except FieldDoesNotExist:
        return value
    return value[:longest]
