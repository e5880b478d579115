"""The settings of the package with their defaults, read on every access.

`conf` has one attribute per setting, with the name of the setting. Client ID, secret and scopes are the settings that
python-social-auth reads (`SOCIAL_AUTH_EPROSPERA_KEY`, `_SECRET`, `_SCOPE`), the encryption keys the one that
django-encrypted-model-fields reads (`FIELD_ENCRYPTION_KEY`).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from django_eprospera.crypto import Secret
from django_eprospera.errors import ConfigurationError
from django_eprospera.scopes import EMAIL, OFFLINE_ACCESS, OPENID, PROFILE, RESOURCES

__all__ = ["conf"]


_ONE_DAY = timedelta(days=1)


def _read(name: str, default: Any) -> Any:
    return getattr(settings, name, default)


class Conf:
    """The settings of the package, typed, each with its default."""

    # The provider
    @property
    def EPROSPERA_BASE_URL(self) -> str:
        """Origin of the provider, which is also its issuer. Staging: `https://staging-portal.eprospera.com`."""
        return str(_read("EPROSPERA_BASE_URL", "https://portal.eprospera.com")).rstrip("/")

    @property
    def EPROSPERA_TOKEN_AUTH_METHOD(self) -> str:
        """How the client authenticates at the token endpoint: `client_secret_basic` or `client_secret_post`."""
        return str(_read("EPROSPERA_TOKEN_AUTH_METHOD", "client_secret_basic"))

    @property
    def EPROSPERA_TIMEOUT(self) -> float:
        """Seconds to wait for a connection, and for the next bytes of an answer."""
        return _seconds("EPROSPERA_TIMEOUT", 8)

    @property
    def EPROSPERA_DEADLINE(self) -> float:
        """Seconds that one whole exchange with the provider may take, however slowly the bytes come."""
        return _seconds("EPROSPERA_DEADLINE", 15)

    @property
    def EPROSPERA_MAX_ANSWER_BYTES(self) -> int:
        """Largest JSON answer that is read."""
        return _whole("EPROSPERA_MAX_ANSWER_BYTES", 1_048_576, "number of bytes")

    @property
    def EPROSPERA_MAX_FILE_BYTES(self) -> int:
        """Largest image or document that is fetched."""
        return _whole("EPROSPERA_MAX_FILE_BYTES", 20 * 1_048_576, "number of bytes")

    @property
    def EPROSPERA_RATE(self) -> float | None:
        """Requests per second of all processes together; sign-ins never wait for it. None: no limit."""
        if _read("EPROSPERA_RATE", 10) is None:
            return None
        return _seconds("EPROSPERA_RATE", 10, "number of requests per second")

    # What is kept
    @property
    def EPROSPERA_INDEX_KEY(self) -> tuple[Secret, ...]:
        """Keys of the blind indexes, newest first. Empty: derived from `FIELD_ENCRYPTION_KEY` (HKDF, RFC 5869)."""
        return _keys("EPROSPERA_INDEX_KEY")

    @property
    def EPROSPERA_SIGNING_KEY(self) -> tuple[Secret, ...]:
        """Ed25519 keys for case files, newest first, made like `FIELD_ENCRYPTION_KEY`. Empty: no case file can be exported."""
        return _keys("EPROSPERA_SIGNING_KEY")

    @property
    def EPROSPERA_USER_FIELDS(self) -> tuple[str, ...]:
        """Which details are copied to Django's user model, in plain text: any of `email first_name last_name`."""
        return _names("EPROSPERA_USER_FIELDS", ("email", "first_name", "last_name"))

    @property
    def EPROSPERA_STORAGE(self) -> str:
        """Alias in `STORAGES` where sealed images and documents are kept."""
        return str(_read("EPROSPERA_STORAGE", "default"))

    @property
    def EPROSPERA_STALE_AFTER(self) -> timedelta | dict[str, timedelta]:
        """Age at which a cached answer is stale and `eprospera_sync` requests it again; also a dictionary by resource."""
        value = _read("EPROSPERA_STALE_AFTER", None)
        if not isinstance(value, dict):
            return _duration("EPROSPERA_STALE_AFTER", _ONE_DAY)
        if unknown := sorted(map(str, set(value) - set(RESOURCES))):
            raise ConfigurationError(
                f"EPROSPERA_STALE_AFTER names {', '.join(unknown)}, which is no resource. Resources: {', '.join(RESOURCES)}."
            )
        return {name: _as_duration(f"EPROSPERA_STALE_AFTER[{name!r}]", given) for name, given in value.items()}

    def stale_after(self, resource: str) -> timedelta:
        """Return the age at which the cached answer of `resource` is stale; one day if the setting leaves it out."""
        ages = self.EPROSPERA_STALE_AFTER
        return ages.get(resource, _ONE_DAY) if isinstance(ages, dict) else ages

    @property
    def EPROSPERA_ERASE_AFTER(self) -> timedelta:
        """How long data of a withdrawn consent is kept, visible to reviewers only, before `eprospera_prune` erases it."""
        return _duration("EPROSPERA_ERASE_AFTER", timedelta(days=30))

    # Tokens
    @property
    def EPROSPERA_REFRESH_MARGIN(self) -> timedelta:
        """How long before its expiry an access token is renewed (up to half as much again, at random)."""
        return _duration("EPROSPERA_REFRESH_MARGIN", timedelta(seconds=60))

    @property
    def EPROSPERA_REFRESH_LEASE(self) -> timedelta:
        """How long one refresh may hold a connection: after that, a holder that died is replaced."""
        return _duration("EPROSPERA_REFRESH_LEASE", timedelta(seconds=60))

    @property
    def EPROSPERA_REFRESH_WAIT(self) -> timedelta:
        """How long a caller waits for the refresh of another caller before it gets `RefreshBusy`."""
        return _duration("EPROSPERA_REFRESH_WAIT", timedelta(seconds=30))

    @property
    def EPROSPERA_REFRESH_PAUSE(self) -> timedelta:
        """How long no refresh is tried after the provider was unavailable or its answer was lost."""
        return _duration("EPROSPERA_REFRESH_PAUSE", timedelta(seconds=30))

    @property
    def EPROSPERA_REFRESH_BUDGET(self) -> timedelta:
        """How long one caller retries while the provider is unavailable."""
        return _duration("EPROSPERA_REFRESH_BUDGET", timedelta(seconds=10))

    @property
    def EPROSPERA_SPOOL(self) -> Path | None:
        """Directory of this user alone where a new token is kept encrypted until it is committed; `None` disables it.

        The default is below the machine's temporary directory. Hosts that share one protect each other's tokens.
        """
        default = Path(tempfile.gettempdir()) / f"django-eprospera-{getattr(os, 'getuid', lambda: 0)()}"
        value = _read("EPROSPERA_SPOOL", default)
        return None if value is None else Path(value)

    @property
    def EPROSPERA_REFRESH_TOKEN_LIFETIME(self) -> timedelta:
        """How long a refresh token lives; the provider does not say it in its answers (docs/provider.md#token)."""
        return _duration("EPROSPERA_REFRESH_TOKEN_LIFETIME", timedelta(days=180))

    @property
    def EPROSPERA_KEEP_ALIVE(self) -> timedelta | None:
        """Renew unused connections whose refresh token ends within this time; None: let them lapse."""
        value = _read("EPROSPERA_KEEP_ALIVE", None)
        return None if value is None else _duration("EPROSPERA_KEEP_ALIVE", timedelta(0))

    @property
    def EPROSPERA_REPLACED_GRANTS(self) -> int:
        """How many grants of earlier sign-ins are held until the connection ends; older ones are revoked. 0: each at once."""
        return _whole("EPROSPERA_REPLACED_GRANTS", 3, "number")

    # Sign-in
    @property
    def EPROSPERA_RECENT_SIGN_IN(self) -> timedelta:
        """How recent a sign-in must be for views behind `recent_sign_in_required`, and to link an identity or disconnect."""
        return _duration("EPROSPERA_RECENT_SIGN_IN", timedelta(minutes=5))

    @property
    def EPROSPERA_GATES(self) -> dict[str, dict[str, Any]]:
        """What users need for URLs that begin so: `{"/vault/": {"kyc": True}}`, with the arguments of `access.Policy`.

        `django_eprospera.middleware.AccessMiddleware` has to be in MIDDLEWARE.
        """
        value = _read("EPROSPERA_GATES", {})
        if not isinstance(value, dict) or not all(isinstance(needs, dict) for needs in value.values()):
            raise ConfigurationError(
                'EPROSPERA_GATES must be a dictionary of dictionaries, such as {"/vault/": {"kyc": True}}, not '
                f"{_found(value)}."
            )
        for beginning in value:
            if not isinstance(beginning, str) or not beginning.startswith("/") or not beginning.endswith("/"):
                raise ConfigurationError(
                    f'EPROSPERA_GATES: {beginning!r} must be a path that begins and ends with "/", such as "/vault/".'
                )
        return value

    @property
    def EPROSPERA_NOTIFY_OWNER(self) -> bool:
        """Whether users get an e-mail when an identity was linked to their account, or their connection was ended."""
        return _flag("EPROSPERA_NOTIFY_OWNER", default=False)

    @property
    def EPROSPERA_PROVIDER_ERROR_STATUS(self) -> int | None:
        """Status of pages about faults of the provider, for proxies that replace pages with 502 to 504. `None`: 502 to 504."""
        value = _read("EPROSPERA_PROVIDER_ERROR_STATUS", None)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599):
            return value
        raise ConfigurationError(
            f"EPROSPERA_PROVIDER_ERROR_STATUS must be a status from 400 to 599 or None, not {value!r}."
        )

    @property
    def EPROSPERA_CLOCK_SKEW(self) -> timedelta:
        """How far the provider's clock may differ from ours."""
        return _duration("EPROSPERA_CLOCK_SKEW", timedelta(seconds=60))

    # Settings of python-social-auth and django-encrypted-model-fields
    @property
    def client_id(self) -> str:
        """`SOCIAL_AUTH_EPROSPERA_KEY`."""
        return str(_read("SOCIAL_AUTH_EPROSPERA_KEY", "") or "")

    @property
    def client_secret(self) -> Secret:
        """`SOCIAL_AUTH_EPROSPERA_SECRET`."""
        return Secret(_read("SOCIAL_AUTH_EPROSPERA_SECRET", "") or "")

    @property
    def requested_scopes(self) -> tuple[str, ...]:
        """`SOCIAL_AUTH_EPROSPERA_SCOPE`, a list or a space-separated string; `openid` always, nothing twice.

        Raises ConfigurationError if it is neither.
        """
        given = _read("SOCIAL_AUTH_EPROSPERA_SCOPE", (PROFILE, EMAIL, OFFLINE_ACCESS))
        items = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
        if items is None or not all(isinstance(item, str) for item in items):
            raise ConfigurationError(
                "SOCIAL_AUTH_EPROSPERA_SCOPE must be a list of scope names or a space-separated string, not "
                f"{_found(given)}."
            )
        return tuple(dict.fromkeys([OPENID, *" ".join(items).split()]))

    @property
    def encryption_keys(self) -> tuple[Secret, ...]:
        """`FIELD_ENCRYPTION_KEY` as a tuple, newest first."""
        return _keys("FIELD_ENCRYPTION_KEY")


def _found(value: Any) -> str:
    """The type of a wrong value, for an error message. The value itself may be a key."""
    if isinstance(value, (list, tuple, set, frozenset)):
        kinds = sorted({type(item).__name__ for item in value if not isinstance(item, str)})
        return f"a {type(value).__name__} that contains {' and '.join(kinds)}" if kinds else type(value).__name__
    return repr(value) if isinstance(value, (bool, int, float)) or value is None else type(value).__name__


def _keys(name: str) -> tuple[Secret, ...]:
    value = _read(name, ())
    given = value if isinstance(value, (list, tuple)) else [value] if value else []
    if not all(isinstance(key, (str, bytes)) for key in given):
        raise ConfigurationError(f"{name} must be a key or a list of keys, newest first, not {_found(value)}.")
    return tuple(Secret(key.decode("ascii", "replace") if isinstance(key, bytes) else key) for key in given)


def _names(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = _read(name, default)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ConfigurationError(f"{name} must be a list of names, not {_found(value)}.")


def _flag(name: str, *, default: bool) -> bool:
    value = _read(name, default)
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{name} must be True or False, not {_found(value)}.")


def _seconds(name: str, default: float, what: str = "number of seconds") -> float:
    value = _read(name, default)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ConfigurationError(f"{name} must be a {what}, not {_found(value)}.")


def _whole(name: str, default: int, what: str) -> int:
    value = _read(name, default)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ConfigurationError(f"{name} must be a whole {what}, not {_found(value)}.")


def _duration(name: str, default: timedelta) -> timedelta:
    return _as_duration(name, _read(name, default))


def _as_duration(name: str, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < timedelta.max.total_seconds():
        return timedelta(seconds=value)
    raise ConfigurationError(f"{name} must be a datetime.timedelta or a number of seconds, not {_found(value)}.")


conf = Conf()
