"""The keys of the settings, read when they are used and never at import."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from django_eprospera.conf import conf
from django_eprospera.crypto import Keyring, Secret
from django_eprospera.errors import ConfigurationError
from django_eprospera.verify import jwk, key_id

__all__ = ["KEY_RECIPE", "SigningKey", "keyring", "require_keys", "signing_keys"]

KEY_RECIPE: Final = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


def keyring() -> Keyring:
    """Return the keyring of FIELD_ENCRYPTION_KEY and EPROSPERA_INDEX_KEY as they are now.

    Raises ConfigurationError when a key is missing or is not a Fernet key.
    """
    return _keyring(conf.encryption_keys, conf.EPROSPERA_INDEX_KEY)


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key that signs case files, with the public key as a JSON Web Key."""

    private: Ed25519PrivateKey = field(repr=False)
    id: str
    public: dict[str, str]


def signing_keys() -> list[SigningKey]:
    """Return the keys of EPROSPERA_SIGNING_KEY, newest first. Raises ConfigurationError when one is malformed."""
    keys = conf.EPROSPERA_SIGNING_KEY
    if keys:
        require_keys("EPROSPERA_SIGNING_KEY", keys)
    return [_signing_key(base64.urlsafe_b64decode(key)) for key in keys]


def _signing_key(seed: bytes) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    return SigningKey(private, key_id(public), {**jwk(public), "kid": key_id(public), "alg": "EdDSA", "use": "sig"})


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
