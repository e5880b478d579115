"""RSA signing keys of the sandbox and the JSON Web Key Set that publishes them. Imports no models and no requests.

The newest key signs. Older keys stay published until `rotate(forget=True)`.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import jwt
from jwcrypto.jwk import JWK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyRing"]


def _named(key: JWK, number: int) -> JWK:
    # The thumbprint keeps two sandboxes, started one after the other on the same port, from reusing a kid.
    key.update(kid=f"sandbox-{number}-{key.thumbprint()[:8]}", use="sig", alg="RS256")
    return key


class KeyRing:
    """Signing keys, oldest first, stored in one file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        stored = json.loads(path.read_text()) if path.exists() else {}
        self._keys = {int(number): _named(JWK.from_pem(pem.encode()), int(number)) for number, pem in stored.items()}
        if not self._keys:
            self.rotate()

    def rotate(self, *, forget: bool = False) -> str:
        """Create a new signing key and return its kid. With `forget`, older keys leave the published set at once."""
        with self._lock:
            number = max(self._keys, default=0) + 1
            new = _named(JWK.generate(kty="RSA", size=2048), number)
            # One assignment: readers never see a ring without a key.
            self._keys = {**({} if forget else self._keys), number: new}
            pems = {n: key.export_to_pem(private_key=True, password=None).decode() for n, key in self._keys.items()}
            self._path.touch(mode=0o600)
            self._path.write_text(json.dumps(pems))
        return str(new["kid"])

    @property
    def newest(self) -> JWK:
        """The key that signs."""
        keys = self._keys
        return keys[max(keys)]

    def published(self) -> dict[str, Any]:
        """Return the JSON Web Key Set, newest key first."""
        return {"keys": [key.export_public(as_dict=True) for key in reversed(self._keys.values())]}

    def sign(self, claims: dict[str, Any], typ: str = "JWT") -> str:
        """Return a compact JWS over `claims`, signed with the newest key."""
        key = self.newest
        return jwt.encode(claims, key.get_op_key("sign"), algorithm="RS256", headers={"kid": key["kid"], "typ": typ})
