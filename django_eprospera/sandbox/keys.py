"""Which keys sign, and which may still be trusted? RS256 only. Knows no models and no requests.

The newest key signs. Older ones stay in the published set until they are forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyRing", "SigningKey"]


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


@dataclass(frozen=True)
class SigningKey:
    """One RSA key and its public name."""

    kid: str
    private: rsa.RSAPrivateKey

    @property
    def public(self) -> dict[str, str]:
        """The key as it stands in the published set (RFC 7517)."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }


def _named(private: rsa.RSAPrivateKey, place: int) -> SigningKey:
    # The thumbprint keeps two sandboxes, one after the other on the same port, from giving two keys the same name.
    print_ = hashlib.sha256(_number(private.public_key().public_numbers().n).encode()).hexdigest()[:8]
    return SigningKey(f"sandbox-{place}-{print_}", private)


class KeyRing:
    """The sandbox's signing keys, oldest first, kept in one file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._keys: list[SigningKey] = []
        if path.exists():
            for place, pem in json.loads(path.read_text()).items():
                private = serialization.load_pem_private_key(pem.encode(), password=None)
                assert isinstance(private, rsa.RSAPrivateKey)
                self._keys.append(_named(private, int(place)))
        else:
            self.rotate()

    def rotate(self, *, forget: bool = False) -> str:
        """Makes a new signing key and returns its kid. With `forget`, older keys leave the published set at once."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        with self._lock:
            place = int(self._keys[-1].kid.split("-")[1]) + 1 if self._keys else 1
            new = _named(private, place)
            # One assignment: readers never see a ring without a key.
            self._keys = [*([] if forget else self._keys), new]
            self._save()
        return new.kid

    @property
    def newest(self) -> SigningKey:
        """The key that signs."""
        return self._keys[-1]

    def published(self) -> dict[str, Any]:
        """The JSON Web Key Set, newest key first."""
        return {"keys": [key.public for key in reversed(self._keys)]}

    def sign(self, claims: dict[str, Any], typ: str = "JWT") -> str:
        """A compact JWS over `claims`, signed with the newest key."""
        key = self.newest
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid, "typ": typ})

    def _save(self) -> None:
        pems = {
            key.kid.split("-")[1]: key.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode()
            for key in self._keys
        }
        self._path.touch(mode=0o600)
        self._path.write_text(json.dumps(pems))
