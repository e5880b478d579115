"""Checks of the settings, each by itself and together with the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.urls import NoReverseMatch, reverse

from django_eprospera.checks.table import error, warning
from django_eprospera.conf import Conf, conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.keys import require_keys
from django_eprospera.provider.grants import AUTH_METHODS
from django_eprospera.provider.http import is_loopback
from django_eprospera.scopes import LABELS, OFFLINE_ACCESS

__all__ = ["check_settings"]

_BACKEND: Final = "django_eprospera.backends.EprosperaOpenIdConnect"
_STEP: Final = "django_eprospera.pipeline.store_connection"
_USER_STEPS: Final = ("social_core.pipeline.user.create_user", "social_core.pipeline.social_auth.associate_user")
_USER_FIELDS: Final = ("email", "first_name", "last_name")
_NEW_KEY: Final = (
    'Create one: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())". '
    "Keep it out of the source code, and back it up apart from the database."
)
_MAY_BE_ZERO: Final = frozenset(
    {"EPROSPERA_ERASE_AFTER", "EPROSPERA_REFRESH_MARGIN", "EPROSPERA_REFRESH_PAUSE", "EPROSPERA_REFRESH_BUDGET",
     "EPROSPERA_REFRESH_WAIT", "EPROSPERA_CLOCK_SKEW", "EPROSPERA_STALE_AFTER", "EPROSPERA_REPLACED_GRANTS"}
)  # fmt: skip

T = TypeVar("T")
Found = Iterator[CheckMessage]


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Return errors and warnings about the settings."""
    parts = (_keys, _client, _login, _provider, _values, _lease, _storage, _scope, _pipeline, _unknown)
    return [message for part in parts for message in part()]


def _valid(read: Callable[[], T]) -> T | None:
    """Return the value of a setting; None when it is invalid, which is reported as E010."""
    try:
        return read()
    except ConfigurationError:
        return None


def _keys() -> Found:
    for number, setting, name in (
        ("E001", "FIELD_ENCRYPTION_KEY", "encryption_keys"),
        ("E002", "EPROSPERA_INDEX_KEY", "EPROSPERA_INDEX_KEY"),
        ("E015", "EPROSPERA_SIGNING_KEY", "EPROSPERA_SIGNING_KEY"),
    ):
        try:
            keys = getattr(conf, name)
            if keys or number == "E001":
                require_keys(setting, keys)
        except ConfigurationError as wrong:
            yield error(number, str(wrong), _NEW_KEY)
    signing = _valid(lambda: conf.EPROSPERA_SIGNING_KEY) or ()
    others = _valid(lambda: conf.encryption_keys) or ()
    if set(signing) & set(others):
        yield error("E015", "EPROSPERA_SIGNING_KEY contains a key of FIELD_ENCRYPTION_KEY.", _NEW_KEY)


def _client() -> Found:
    for setting, value in (
        ("SOCIAL_AUTH_EPROSPERA_KEY", conf.client_id),
        ("SOCIAL_AUTH_EPROSPERA_SECRET", conf.client_secret),
    ):
        if not value:
            hint = (
                "Set it to the value that the provider issued. `eprospera-sandbox` prints the values that it accepts."
            )
            yield error("E003", f"{setting} is missing.", hint)


def _login() -> Found:
    if _BACKEND not in settings.AUTHENTICATION_BACKENDS:
        yield error("E004", f"AUTHENTICATION_BACKENDS does not contain {_BACKEND!r}.", "Add it.")
    if not apps.is_installed("social_django"):
        yield error("E005", "social_django is not installed.", "Add 'social_django' to INSTALLED_APPS, and migrate.")
        return
    namespace = getattr(settings, "SOCIAL_AUTH_URL_NAMESPACE", "social")
    for name, arguments, fix in (
        ("eprospera:begin", [], "include('django_eprospera.urls')"),
        (f"{namespace}:begin", ["eprospera"], f"include('social_django.urls', namespace={namespace!r})"),
    ):
        try:
            reverse(name, args=arguments)
        except NoReverseMatch:
            yield error("E005", f"The URL {name!r} does not exist.", f"Add `path('', {fix})` to the URLconf.")
            return


def _provider() -> Found:
    given = str(getattr(settings, "EPROSPERA_BASE_URL", conf.EPROSPERA_BASE_URL))
    hint = "Set EPROSPERA_BASE_URL to an origin such as 'https://portal.eprospera.com'."
    try:
        parts = urlsplit(given)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if (
        not usable
        or "@" in given
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or given != given.strip()
    ):
        yield error("E006", "EPROSPERA_BASE_URL must be an origin: a scheme and a host, without a path.", hint)
    elif parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        hint = "Use https. Plain http is allowed for a sandbox on this machine only."
        yield error("E007", "EPROSPERA_BASE_URL uses plain http: tokens would be sent unencrypted.", hint)
    if conf.EPROSPERA_TOKEN_AUTH_METHOD not in AUTH_METHODS:
        text = f"EPROSPERA_TOKEN_AUTH_METHOD must be one of {', '.join(AUTH_METHODS)}, not {conf.EPROSPERA_TOKEN_AUTH_METHOD}."
        yield error("E008", text, "Leave it out for the default, client_secret_basic.")


def _values() -> Found:
    for name, member in inspect.getmembers(Conf, lambda member: isinstance(member, property)):
        if name in {"encryption_keys", "EPROSPERA_INDEX_KEY", "EPROSPERA_SIGNING_KEY", "requested_scopes"}:
            continue  # E001, E002, E015, E013
        try:
            value = getattr(conf, name)
        except ConfigurationError as wrong:
            yield error("E010", str(wrong), str(inspect.getdoc(member)))
            continue
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool):
            continue
        if isinstance(value, (int, float)) and (value < 0 or (value == 0 and name not in _MAY_BE_ZERO)):
            yield error("E010", f"{name} must be greater than zero, not {value:g}.", str(inspect.getdoc(member)))
    unknown = sorted(set(_valid(lambda: conf.EPROSPERA_USER_FIELDS) or ()) - set(_USER_FIELDS))
    if unknown:
        text = f"EPROSPERA_USER_FIELDS contains unknown fields: {', '.join(unknown)}."
        yield error("E009", text, f"Allowed are: {', '.join(_USER_FIELDS)}.")


def _lease() -> Found:
    lease, budget = _valid(lambda: conf.EPROSPERA_REFRESH_LEASE), _valid(lambda: conf.EPROSPERA_REFRESH_BUDGET)
    deadline = _valid(lambda: conf.EPROSPERA_DEADLINE)
    if (
        lease is not None
        and budget is not None
        and deadline is not None
        and lease < budget + timedelta(seconds=deadline)
    ):
        text = "EPROSPERA_REFRESH_LEASE must be at least EPROSPERA_REFRESH_BUDGET plus EPROSPERA_DEADLINE."
        hint = "Lengthen it. Otherwise a second process refreshes while the first still waits, and the token is used twice."
        yield error("E011", text, hint)


def _storage() -> Found:
    if conf.EPROSPERA_STORAGE not in settings.STORAGES:
        text = f"EPROSPERA_STORAGE is {conf.EPROSPERA_STORAGE!r}, which is not an alias in STORAGES."
        yield error("E012", text, "Define the alias, or leave the setting out to use 'default'.")


def _scope() -> Found:
    try:
        requested = conf.requested_scopes
    except ConfigurationError as wrong:
        yield error("E013", str(wrong), "For example: ['openid', 'profile', 'email', 'offline_access'].")
        return
    if unknown := sorted(set(requested) - set(LABELS)):
        text = f"SOCIAL_AUTH_EPROSPERA_SCOPE contains scopes that e-Próspera does not know: {', '.join(unknown)}."
        yield warning("W001", text, f"The provider refuses such a sign-in. It knows: {', '.join(LABELS)}.")
    if OFFLINE_ACCESS not in requested:
        text = f"SOCIAL_AUTH_EPROSPERA_SCOPE does not contain {OFFLINE_ACCESS}: access ends an hour after each sign-in."
        yield warning("W002", text, f"Add {OFFLINE_ACCESS!r}, or silence this warning if that is intended.")


def _pipeline() -> Found:
    steps = (
        getattr(settings, "SOCIAL_AUTH_EPROSPERA_PIPELINE", None)
        or getattr(settings, "SOCIAL_AUTH_PIPELINE", None)
        or ()
    )
    if _STEP in steps and any(steps.index(step) > steps.index(_STEP) for step in _USER_STEPS if step in steps):
        hint = f"Move it after {', '.join(_USER_STEPS)}, or remove it: the backend then adds it at the end."
        yield warning("W003", f"{_STEP} comes before the user exists in the pipeline.", hint)


def _unknown() -> Found:
    names = sorted(name for name in dir(settings) if name.startswith("EPROSPERA_") and not hasattr(Conf, name))
    if names:
        hint = "Correct the spelling, or choose a name without this prefix for a setting of your own."
        yield warning("W006", f"Unknown settings: {', '.join(names)}.", hint)
