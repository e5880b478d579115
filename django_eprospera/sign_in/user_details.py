"""The details that are copied to Django's user model, in plain text: those that EPROSPERA_USER_FIELDS names.

The e-mail address is copied when the account is made and not changed afterwards: sites send passwords to it. Names follow the
provider at every sign-in. A username is never made of a person's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.validators import validate_email

from django_eprospera.conf import conf
from django_eprospera.wording import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["user_details"]


def user_details(claims: Mapping[str, Any]) -> dict[str, str]:
    """Details for python-social-auth's pipeline from OIDC claims; what is unknown or does not fit is left out.

    `email` is always there, and empty when there is none: user models do not take None.
    """
    first, last = claims.get("given_name") or "", claims.get("family_name") or ""
    if not (first or last):
        first, _, last = (claims.get("name") or "").strip().partition(" ")
    wanted = conf.EPROSPERA_USER_FIELDS
    # Every page of the site shows these, so what could change how they read is made visible here.
    names = {"first_name": visible(first.strip()), "last_name": visible(last.strip())}
    details = {name: _fitted(name, value) for name, value in names.items() if value and name in wanted}
    return {"email": _email(claims.get("email") or "") if "email" in wanted else "", **details}


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
