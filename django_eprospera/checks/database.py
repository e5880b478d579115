"""Checks that read the tables: `check --database default`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, PermissionsMixin
from django.core.checks import CheckMessage, Tags, register
from django.db import connections
from django.db.models import Model, Q

from django_eprospera.checks.gates import SCOPE_HINT, missing_scopes
from django_eprospera.checks.table import error, warning
from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.keys import KEY_RECIPE, keyring
from django_eprospera.models import Connection
from django_eprospera.rotation import census
from django_eprospera.scopes import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_connections", "check_keys_in_use", "check_reviewers", "check_signing"]


@register(Tags.database, deploy=True)
def check_keys_in_use(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return errors for values, files and index entries in these databases whose key is not configured."""
    try:
        held = keyring()
    except ConfigurationError:
        return []  # reported as E001 or E002
    found: list[CheckMessage] = []
    for alias in databases or ():
        for key_id, counts in census(alias).items():
            if not key_id:
                hint = "`eprospera_rotate_keys` lists the rows. Save them through the model."
                found.append(error("E021", f"Sealed columns in database {alias!r} contain plain text: {counts}.", hint))
                continue
            opens = key_id in held.key_ids or not (counts.values or counts.files)
            if not (opens and (key_id in held.index_key_ids or not counts.entries)):
                where = "FIELD_ENCRYPTION_KEY (or EPROSPERA_INDEX_KEY)"
                hint = f"Add the key to the end of {where} again, and run `eprospera_rotate_keys` before you remove it."
                found.append(
                    error("E020", f"In database {alias!r}, {counts} need key {key_id}, which is not in {where}.", hint)
                )
    return found


@register(Tags.database)
def check_connections(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return a warning for databases with connections of another provider or client than that of the settings."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        rows = Connection.objects.using(alias)
        current = Q(issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id)
        if _exists(Connection, alias) and (count := rows.exclude(current).count()):
            connections_ = "1 connection belongs" if count == 1 else f"{count:,} connections belong"
            text = f"In database {alias!r}, {connections_} to another provider or client than the settings name."
            hint = (
                "Their data opens no gate. Correct EPROSPERA_BASE_URL or SOCIAL_AUTH_EPROSPERA_KEY if the change was not "
                "intended. Otherwise these people connect anew at their next sign-in."
            )
            found.append(warning("W010", text, hint))
    return found


@register(Tags.database)
def check_reviewers(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return a warning if somebody was given the permission to decide reviews, and their scopes are not requested."""
    missing = missing_scopes(FEATURES["kyc"])
    return [
        warning("W009", f"The reviewers in database {alias!r} will have nobody to decide on: {missing}.", SCOPE_HINT)
        for alias in databases or ()
        if missing and _exists(Permission, alias) and _is_given("decide_review", alias)
    ]


@register(Tags.database)
def check_signing(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return a warning if somebody was given the permission to export case files, and there is no key to sign them."""
    if conf.EPROSPERA_SIGNING_KEY:
        return []
    text = "EPROSPERA_SIGNING_KEY is missing, and there are users in database {!r} who may export case files."
    return [
        warning("W011", text.format(alias), f"Set it to a key made with `{KEY_RECIPE}`.")
        for alias in databases or ()
        if _exists(Permission, alias) and _is_given("export_review", alias)
    ]


def _is_given(codename: str, alias: str) -> bool:
    given = Q(group__isnull=False)
    if issubclass(get_user_model(), PermissionsMixin):
        given |= Q(user__isnull=False)
    named = Permission.objects.using(alias).filter(content_type__app_label="django_eprospera", codename=codename)
    return named.filter(given).exists()


def _exists(model: type[Model], alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        return model._meta.db_table in connections[alias].introspection.table_names(cursor)
