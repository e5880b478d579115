"""The keyring of the settings, built when it is used and never at import."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from django_eprospera.conf import conf
from django_eprospera.crypto import Keyring, Secret
from django_eprospera.errors import ConfigurationError

__all__ = ["KEY_RECIPE", "keyring", "require_keys"]

KEY_RECIPE: Final = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


def keyring() -> Keyring:
    """Return the keyring of FIELD_ENCRYPTION_KEY and EPROSPERA_INDEX_KEY as they are now.

    Raises ConfigurationError when a key is missing or is not a Fernet key.
    """
    return _keyring(conf.encryption_keys, conf.EPROSPERA_INDEX_KEY)


def require_keys(setting: str, keys: tuple[Secret, ...]) -> None:
    """Raise ConfigurationError, naming the setting and the fix, unless `keys` are Fernet keys and at least one."""
    try:
        Keyring(keys)
    except ValueError as error:
        raise ConfigurationError(
            f"{setting}: {error}. Set it to a key made with `{KEY_RECIPE}`, or to a list of such keys, newest first."
        ) from None


@lru_cache(maxsize=16)
def _keyring(keys: tuple[Secret, ...], index_keys: tuple[Secret, ...]) -> Keyring:
    require_keys("FIELD_ENCRYPTION_KEY", keys)
    if index_keys:
        require_keys("EPROSPERA_INDEX_KEY", index_keys)
    return Keyring(keys, index_keys)
