"""Where does the keyring come from? From the settings, when it is used; never at import."""

from __future__ import annotations

from functools import lru_cache

from django_eprospera.conf import conf
from django_eprospera.crypto import Keyring
from django_eprospera.errors import ConfigurationError

__all__ = ["keyring"]

_MEND = (
    "Set FIELD_ENCRYPTION_KEY to a key made with "
    '`python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`, '
    "or to a list of such keys, newest first."
)


def keyring() -> Keyring:
    """Return the keyring of FIELD_ENCRYPTION_KEY and EPROSPERA_INDEX_KEY as they are now.

    Raises ConfigurationError when a key is missing or is not a Fernet key.
    """
    return _keyring(conf.encryption_keys, conf.EPROSPERA_INDEX_KEY)


@lru_cache(maxsize=16)
def _keyring(keys: tuple[str, ...], index_keys: tuple[str, ...]) -> Keyring:
    try:
        return Keyring(keys, index_keys)
    except ValueError as error:
        raise ConfigurationError(f"FIELD_ENCRYPTION_KEY: {error}. {_MEND}") from None
